"""Brings a database to the newest schema: `python -m segsmith_shared.database.migrate`."""

import argparse
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x5E65_317A  # any number nobody else locks in this database


def _configuration(connection: Connection) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    return configuration


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing, in one transaction. A caller that arrives meanwhile waits, then finds nothing to do."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            command.upgrade(_configuration(connection), revision)
    finally:
        engine.dispose()


def revise(url: str, message: str) -> None:
    """Write the next revision file from what the tables have and the migrated database lacks (for developers)."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            number = 1 + sum(1 for _ in (MIGRATIONS / "versions").glob("[0-9]*.py"))
            command.revision(_configuration(connection), message, autogenerate=True, rev_id=f"{number:04}")
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m segsmith_shared.database.migrate", description=__doc__)
    parser.add_argument("--url", help="default: DATABASE_URL")
    parser.add_argument("--revise", metavar="WHY", help="write a new revision instead of upgrading")
    arguments = parser.parse_args()
    url = arguments.url or _url_of_this_environment()
    if arguments.revise:
        revise(url, arguments.revise)
    else:
        upgrade(url)


def _url_of_this_environment() -> str:
    from segsmith_shared.settings import settings

    return settings().database_url.get_secret_value()


if __name__ == "__main__":
    main()
