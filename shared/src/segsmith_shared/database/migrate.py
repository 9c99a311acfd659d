"""Brings a database to the newest schema, never back: `python -m segsmith_shared.database.migrate`."""

import argparse
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from segsmith_shared.problems import Conflict

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x5E65_317A  # any number nobody else locks in this database


class OnlyUpwards(Conflict):
    """The database is newer than what it should become: going back would drop what later versions stored."""

    title = "Migrations only go up"


def _configuration(connection: Connection) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    return configuration


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing, in one transaction. A caller that arrives meanwhile waits, then finds nothing to do.

    Raises OnlyUpwards, changing nothing, where the database is at a later revision, known here or not.
    """
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            configuration = _configuration(connection)
            _refuse_to_go_back(connection, ScriptDirectory.from_config(configuration), revision)
            command.upgrade(configuration, revision)
    finally:
        engine.dispose()


def _refuse_to_go_back(connection: Connection, scripts: ScriptDirectory, wanted: str) -> None:
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None:
        return
    path = [script.revision for script in scripts.walk_revisions("base", wanted)]
    if present not in path:
        raise OnlyUpwards(
            f"The database is at revision {present}; this would take it back to {path[0]}.",
            hint="Run the version of segsmith that migrated it, or restore a backup made before.",
        )


def revise(url: str, message: str) -> None:
    """Write the next revision file from what the tables have and the migrated database lacks (for developers)."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            number = 1 + sum(1 for _ in (MIGRATIONS / "versions").glob("[0-9]*.py"))
            command.revision(_configuration(connection), message, autogenerate=True, rev_id=f"{number:04}")
    finally:
        engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m segsmith_shared.database.migrate", description=__doc__)
    parser.add_argument("--url", help="default: DATABASE_URL")
    parser.add_argument("--revise", metavar="WHY", help="write a new revision instead of upgrading")
    parser.add_argument("--to", default="head", metavar="REVISION", help="stop there (default: the newest)")
    arguments = parser.parse_args()
    url = arguments.url or _url_of_this_environment()
    if arguments.revise:
        revise(url, arguments.revise)
        return 0
    try:
        upgrade(url, arguments.to)
    except OnlyUpwards as refused:
        sys.stderr.write(f"{refused.title}: {refused.detail} {refused.hint}\n")
        return 1
    return 0


def _url_of_this_environment() -> str:
    from segsmith_shared.settings import settings_or_exit

    return settings_or_exit().database_url.get_secret_value()


if __name__ == "__main__":
    sys.exit(main())
