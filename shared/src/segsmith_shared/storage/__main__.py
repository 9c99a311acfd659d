"""`python -m segsmith_shared.storage gc | fsck`: the object store and the database in step, by hand or from cron."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from sqlmodel import Session

from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.problems import Problem
from segsmith_shared.settings import settings_or_exit
from segsmith_shared.storage.housekeeping import check, collect
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.references import every_digest_named, object_references

ReadNames = Callable[[Session, ObjectStore], set[str]]


def main() -> int:
    """One JSON document on stdout. Exit code 1 when `fsck` finds an object missing or damaged, or on a problem."""
    arguments = _parser().parse_args()
    settings = settings_or_exit()
    engine = engine_for(settings.database_url.get_secret_value(), application="segsmith-storage")
    store = ObjectStore.from_settings(settings)

    def names(read: ReadNames) -> set[str]:
        with session_scope(engine) as session:
            return read(session, store)

    try:
        if arguments.command == "gc":
            collected = collect(store, lambda: names(every_digest_named), rehearse=arguments.rehearse)
            _say(asdict(collected))
            return 0
        checked = check(store, lambda: names(object_references), read_everything=not arguments.names_only)
        _say(asdict(checked))
        return int(bool(checked.missing or checked.corrupt))
    except Problem as problem:
        sys.stderr.write(f"{problem.title}: {problem.detail} {problem.hint}".strip() + "\n")
        return 1
    finally:
        engine.dispose()


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m segsmith_shared.storage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("gc", help="remove objects older than a day that no row names")
    collecting.add_argument("--rehearse", action="store_true", help="only count them")
    checking = commands.add_parser("fsck", help="look for every object that a row names, and verify its bytes")
    checking.add_argument("--names-only", action="store_true", help="look at names, not at bytes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
