"""`python -m segsmith_api.prepare`: what must be there before the services start. Safe to repeat, at once or later.

Migrates the database, makes the bucket, and sees to it that there is an API key: `SEGSMITH_FIRST_API_KEY`, or, where
that is not set, a new one, which is printed on standard output and nowhere else.
"""

import sys

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.exc import OperationalError

from segsmith_shared.authentication import ensure_first_key
from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.problems import Problem
from segsmith_shared.settings import Settings, settings_or_exit
from segsmith_shared.storage.objects import ObjectStore


class FirstKey(BaseSettings):
    """The key that whoever installs already knows, so that it need not be read from a log."""

    model_config = SettingsConfigDict(env_prefix="SEGSMITH_", extra="ignore")

    first_api_key: SecretStr | None = Field(None, description="sgs_…, 40 to 100 characters")


def main() -> int:
    """Exit code 0 when everything is there, 1 with one line that says what is not."""
    here, wanted = settings_or_exit(), FirstKey().first_api_key
    try:
        upgrade(here.database_url.get_secret_value())
        ObjectStore.from_settings(here)
        _ensure_key(here, wanted)
    except Problem as problem:
        _say(f"{problem.title}: {problem.detail} {problem.hint}".strip())
    except OperationalError as error:
        _say(f"Postgres does not answer: {str(error.orig).splitlines()[0]}")
    else:
        _say("prepared: schema, bucket, API key")
        return 0
    return 1


def _ensure_key(here: Settings, wanted: SecretStr | None) -> None:
    engine = engine_for(here.database_url.get_secret_value(), pool_size=1, application="segsmith prepare")
    try:
        with session_scope(engine) as session:
            made = ensure_first_key(session, given=None if wanted is None else wanted.get_secret_value())
            if made is not None and wanted is None:  # before the commit: nobody may be locked out by a lost line
                sys.stdout.write(f"first API key, shown only now: {made}\n")
                sys.stdout.flush()
    finally:
        engine.dispose()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
