"""What 10^6 pairs and 10^5 jobs showed to be missing, and indexes that others contain (docs/scale.md)."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("waits", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute(  # what waits already is to cost a claim nothing either; whose needs have ended is found all the same
        "UPDATE job SET waits = true WHERE status IN ('queued', 'paused') AND EXISTS (SELECT 1 FROM job_dependency "
        "JOIN job need ON need.id = job_dependency.needs_id WHERE job_dependency.job_id = job.id "
        "AND need.status <> 'succeeded')"
    )
    op.drop_index("job_claimable", "job")
    op.create_index(
        "job_claimable",
        "job",
        ["queue", "priority", "created_at", "id"],
        postgresql_where=sa.text("status = 'queued' AND NOT waits"),
    )
    op.create_index(
        "job_queued",
        "job",
        ["queue", "priority", "created_at", "id"],
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "job_of_generation",
        "job",
        [sa.text("(spec ->> 'generation_id')")],
        postgresql_where=sa.text("kind IN ('generate', 'style') AND status <> 'succeeded'"),
    )
    op.create_index("job_of_pipeline", "job", ["pipeline_id", "created_at", "id"])
    op.drop_index("ix_job_pipeline_id", "job")
    op.create_unique_constraint(
        "sample_generation_id_sample_index_source_pair_id_key",
        "sample",
        ["generation_id", "sample_index", "source_pair_id"],
    )
    op.drop_constraint("sample_generation_id_source_pair_id_sample_index_key", "sample")
    op.drop_index("ix_sample_generation_id", "sample")
    op.drop_index("ix_pair_version_id", "pair")
