"""Indexes that a simulation of 10^6 pairs and 10^5 jobs showed to be missing (docs/scale.md)."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "job_of_generation",
        "job",
        [sa.text("(spec ->> 'generation_id')")],
        postgresql_where=sa.text("kind IN ('generate', 'style') AND status <> 'succeeded'"),
    )
