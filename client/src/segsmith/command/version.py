"""`segsmith version`."""

import platform

import typer

import segsmith
from segsmith.command.invocation import Invocation, Shown, command


def register(app: typer.Typer) -> None:
    """Add the command to the whole."""
    command(app, "version", online=False)(version)


def version(_here: Invocation) -> Shown:
    """Which segsmith this is."""
    document = {"segsmith": segsmith.__version__, "python": platform.python_version()}
    return Shown(document, f"segsmith {segsmith.__version__} (Python {platform.python_version()})")
