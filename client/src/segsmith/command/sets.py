"""`segsmith set`: synthetic sets, which are dataset versions."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import size

app = application("Take synthetic sets home.")


@command(app, "download")
def download(
    here: Invocation,
    version: Annotated[UUID, typer.Argument(help="Id of a version: a synthetic set or any other.")],
    output: Annotated[Path | None, typer.Option(help="The zip to write; named after the version unless given.")] = None,
) -> Shown:
    """A version as a zip of images/, masks/ and provenance.jsonl."""
    found = here.client.versions.get(version)
    file = here.client.versions.download(version, output or Path(f"{found.label or version}.zip"))
    return Shown(
        {"version_id": version, "file": file, "pairs": found.pair_count, "size_bytes": file.stat().st_size},
        f"{found.pair_count} pairs in {file} ({size(file.stat().st_size)})",
    )
