"""Judges of the quality gate, and what they say of pairs and sets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "judge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fold", sa.Integer(), nullable=False),
        sa.Column("folds", sa.Integer(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("training_manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("curve", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("held_out", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("checkpoint_digest", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_judge_created_at"), "judge", ["created_at"], unique=False)
    op.create_index(op.f("ix_judge_job_id"), "judge", ["job_id"], unique=False)
    op.create_table(
        "set_judgement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("synthetic_version_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["synthetic_version_id"],
            ["dataset_version.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_set_judgement_created_at"), "set_judgement", ["created_at"], unique=False)
    op.create_index(op.f("ix_set_judgement_job_id"), "set_judgement", ["job_id"], unique=False)
    op.create_index(
        op.f("ix_set_judgement_synthetic_version_id"), "set_judgement", ["synthetic_version_id"], unique=False
    )
    op.add_column("sample", sa.Column("agreement", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
