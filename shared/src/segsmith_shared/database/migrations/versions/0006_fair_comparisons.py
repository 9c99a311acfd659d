"""Fingerprints of pairs, and names of sets that say whether they are one sample of every source or the first N."""

import json
import re

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OLD_NAME = re.compile(r"(.+)-(\d+)((?: \(.*\))?)")


def upgrade() -> None:
    op.create_table(
        "pair_fingerprint",
        sa.Column("pair_id", sa.Uuid(), nullable=False),
        sa.Column("hash_bytes", sa.LargeBinary(), nullable=False),
        sa.Column("colour_print", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pair_id"),
    )
    # Diff-2 was the second sample of every source, which is called Diff-sample-2 now: Diff-2 is the first two
    op.execute(r"UPDATE evaluation SET label = regexp_replace(label, '-(\d+)$', '-sample-\1')")
    op.execute(r"UPDATE set_judgement SET label = regexp_replace(label, '-(\d+)$', '-sample-\1')")
    op.execute(
        r"UPDATE dataset_version SET label = regexp_replace(label, '-(\d+)((?: \(.*\))?)$', '-sample-\1\2') "
        "WHERE origin = 'synthetic'"
    )
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, spec FROM pipeline WHERE spec ->> 'segmentation' IS NOT NULL"))
    for pipeline_id, spec in rows.fetchall():
        for arm in spec["segmentation"].get("arms", ()):
            arm["sets"] = [_OLD_NAME.sub(r"\1-sample-\2\3", name) for name in arm.get("sets", ())]
        statement = sa.text("UPDATE pipeline SET spec = CAST(:spec AS jsonb) WHERE id = :id")
        connection.execute(statement, {"spec": json.dumps(spec), "id": pipeline_id})
