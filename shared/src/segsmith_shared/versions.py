"""Which code made a result: stored with every sample and printed in every report."""

from functools import cache
from importlib.metadata import version
from os import environ


@cache
def code_version() -> str:
    """The distribution's version, with the revision a build was given in SEGSMITH_REVISION."""
    revision = environ.get("SEGSMITH_REVISION", "")
    return version("segsmith-shared") + (f"+{revision}" if revision else "")
