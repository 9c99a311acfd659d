"""Which objects the database names: one answer that never names too few, and one that names objects only."""

import re

from sqlalchemy import Column, Table, text
from sqlmodel import Session, SQLModel, select

from segsmith_shared.database import tables
from segsmith_shared.storage.objects import ObjectMissing, ObjectStore

LARGEST_MANIFEST_BYTES = 16 * 2**20
MANIFEST_COLUMNS = ("checkpoint_digest", "manifest_digest")
NOT_OBJECTS = ("request_digest",)
PLAIN_DIGESTS_OF_OBJECTS = (tables.Artifact, tables.UploadPart)
DIGEST = re.compile(rb"[0-9a-f]{64}")


def every_digest_named(session: Session, store: ObjectStore) -> set[str]:
    """Everything that looks like a digest in any row of any table, and in the manifests they name.

    For deciding what may go: a new column, or a digest deep inside a JSON document, cannot be forgotten here.
    """
    session.connection().execute(text("SET LOCAL statement_timeout = 0"))
    named: set[str] = set()
    for table in SQLModel.metadata.sorted_tables:
        quoted = session.get_bind().dialect.identifier_preparer.format_table(table)
        rows = f"SELECT DISTINCT found[1] FROM {quoted} AS t, regexp_matches(t::text, '[0-9a-f]{{64}}', 'g') AS found"  # noqa: S608 - the table's own quoted name
        named |= set(session.connection().execute(text(rows)).scalars())
    return named | _named_in_manifests(store, _manifests(session) | _digests_in_jobs(session))


def object_references(session: Session, store: ObjectStore) -> set[str]:
    """The objects that must be there: `…_digest` columns, artifacts, parts of uploads, groups of checkpoints."""
    session.connection().execute(text("SET LOCAL statement_timeout = 0"))
    columns = [
        column
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if column.name.endswith("_digest") and column.name not in NOT_OBJECTS
    ]
    columns += [table_of(model).c.digest for model in PLAIN_DIGESTS_OF_OBJECTS]
    named = {digest for column in columns for digest in _values(session, column)}
    return named | _named_in_manifests(store, _manifests(session))


def table_of(model: type[SQLModel]) -> Table:
    table: Table = SQLModel.metadata.tables[str(model.__tablename__)]
    return table


def _values(session: Session, column: Column[str]) -> set[str]:
    return set(session.exec(select(column).where(column.is_not(None)).distinct()).all())


def _manifests(session: Session) -> set[str]:
    columns = [
        table.columns[name]
        for table in SQLModel.metadata.sorted_tables
        for name in MANIFEST_COLUMNS
        if name in table.columns
    ]
    return {digest for column in columns for digest in _values(session, column)}


def _digests_in_jobs(session: Session) -> set[str]:
    """A job between two slices keeps its checkpoint's manifest in `slice_state`, and nowhere else."""
    rows = "SELECT DISTINCT found[1] FROM job AS t, regexp_matches(t::text, '[0-9a-f]{64}', 'g') AS found"
    return set(session.connection().execute(text(rows)).scalars())


def _named_in_manifests(store: ObjectStore, manifests: set[str]) -> set[str]:
    """What the manifests among these objects name; a lost one names nothing, and a check reports it."""
    named: set[str] = set()
    for digest in manifests:
        size_bytes = store.size_bytes(digest)
        if size_bytes is None or size_bytes > LARGEST_MANIFEST_BYTES:
            continue
        try:
            content = store.get_bytes(digest)
        except ObjectMissing:
            continue  # removed since its size was asked for
        if content.startswith(b"{"):
            named |= {found.decode() for found in DIGEST.findall(content)}
    return named
