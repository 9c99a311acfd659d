"""`segsmith weights`: the pretrained files, fetched here and sent to the server, or carried there in a bundle."""

import os
from pathlib import Path
from typing import Annotated

import typer

from segsmith.bundles import check_bundle, is_bundle
from segsmith.command.importing import bytes_bar, send_archive, wait_for
from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import fields, size, table
from segsmith.downloads import download, sha256_of
from segsmith.packing import ArchiveFile
from segsmith.problems import DownloadFailed
from segsmith.values import Job, Weights
from segsmith_shared.plans.weights import PretrainedWeights, weights_in_file, weights_named

app = application("List, fetch, carry and check the pretrained files.")

NamesArgument = Annotated[list[str], typer.Argument(help="Names of pretrained files: segsmith weights list.")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Give up the digest that was pinned before.")]


@command(app, "list")
def list_(here: Invocation) -> Shown:
    """The pretrained files that segsmith knows, and which of them the server has."""
    found = list(here.client.weights.list())
    rows = [(w.name, w.megabytes, w.licence, _told_digest(w), w.used_for) for w in found]
    return Shown(found, table(("name", ">MB", "licence", "on the server", "used for"), rows))


@command(app, "show")
def show(here: Invocation, name: Annotated[str, typer.Argument(help="Name of a pretrained file.")]) -> Shown:
    """Where a file comes from, under which licence, and what is known of its digest."""
    found = here.client.weights.get(name)
    told = {
        "name": found.name,
        "file": found.file_name,
        "from": found.address,
        "size": f"{found.megabytes} MB",
        "licence": found.licence,
        "published SHA-256": found.published_sha256 or "none: pinned when the file first comes",
        "on the server": _told_digest(found),
        "used for": found.used_for,
    }
    return Shown(found, fields(told))


@command(app, "fetch")
def fetch(
    here: Invocation,
    names: NamesArgument,
    to: Annotated[Path | None, typer.Option(help="Only download into this folder; no server is asked.")] = None,
    replace: ReplaceOption = False,
) -> Shown:
    """Download files to this machine, check their digests, and send them to the server."""
    known = [weights_named(name) for name in names]
    if to is not None:
        files = [_downloaded(here, each, to) for each in known]
        return Shown({"files": files}, "\n".join(map(str, files)))
    fetched = [each.name for each in known if _fetched(here, each, replace=replace)]
    told = "\n".join(f"{name}: on the server" for name in names)
    return Shown({"fetched": fetched, "names": names}, told)


@command(app, "import")
def import_(
    here: Invocation,
    file: Annotated[Path, typer.Argument(help="A published file, or a bundle that another installation exported.")],
    name: Annotated[str | None, typer.Option(help="Which file it is; told by the file's name unless given.")] = None,
    replace: ReplaceOption = False,
) -> Shown:
    """Send a file that is on this machine to the server, which checks it and keeps its tensors."""
    archive = ArchiveFile(file)
    bundle = name is None and is_bundle(file)
    known = None if bundle else weights_named(name) if name else weights_in_file(file.name)
    job = _imported(here, archive, known.name if known else None, replace=replace)
    names = job.outputs["names"]
    return Shown({"names": names, "job_id": job.id}, "\n".join(f"{each}: on the server" for each in names))


@command(app, "export")
def export(
    here: Invocation,
    bundle: Annotated[Path, typer.Argument(help="The tar to write.")],
    names: Annotated[list[str] | None, typer.Argument(help="Only these; all that the server has unless given.")] = None,
) -> Shown:
    """Take the server's pretrained files home as one file, for a machine without internet."""
    here.client.weights.export(bundle, names or ())
    held = [each.name for each in check_bundle(bundle).files]
    size_bytes = bundle.stat().st_size
    words = f"{', '.join(held)} in {bundle} ({size(size_bytes)}). There: segsmith weights import {bundle.name}"
    return Shown({"file": bundle, "names": held, "size_bytes": size_bytes}, words)


@command(app, "verify")
def verify(
    here: Invocation, names: Annotated[list[str] | None, typer.Argument(help="Only these; all unless given.")] = None
) -> Shown:
    """Have the server read its pretrained files again and compare their digests; exit code 1 when one is damaged."""
    wanted = [here.client.weights.get(name) for name in names] if names else list(here.client.weights.list())
    found = [here.client.weights.verify(each) for each in wanted if names or each.stored]
    rows = [(each.name, "sound" if each.sound else "DAMAGED", each.detail) for each in found]
    exit_code = 0 if all(each.sound for each in found) else 1
    return Shown(found, table(("name", "", ""), rows), exit_code=exit_code)


def _fetched(here: Invocation, known: PretrainedWeights, *, replace: bool) -> bool:
    """Download and send one file; False where the server has it already, unless it is to be replaced."""
    stored = here.client.weights.get(known.name).stored
    if stored is not None and not replace:
        here.note(f"{known.name} is on the server already.")
        return False
    file = _downloaded(here, known, _cache_folder())
    _imported(here, ArchiveFile(file), known.name, replace=replace)
    file.unlink()
    return True


def _downloaded(here: Invocation, known: PretrainedWeights, folder: Path) -> Path:
    """The published file in `folder`, its digest as far as it is known. Raises DownloadFailed, WeightsCorrupt."""
    file = folder / known.file_name
    # one that is there was whole, and the server did not take it when it came: only its digest is asked again
    sha256 = sha256_of(file) if file.is_file() else _download(here, known, file)
    try:
        pin = known.pinned_by(sha256)
    except Exception:
        file.unlink()
        raise
    here.note(f"SHA-256 {sha256} ({_PINS[pin]})")
    return file


def _download(here: Invocation, known: PretrainedWeights, file: Path) -> str:
    """Bring the file from its publisher; its SHA-256. Raises DownloadFailed, saying how to do without internet."""
    here.note(f"Downloading {known.file_name} ({known.megabytes} MB; licence: {known.licence})")
    try:
        with bytes_bar(here, "downloading", known.megabytes * 10**6) as on_bytes:
            return download(known.address, file, known.maximum_bytes, on_bytes)
    except DownloadFailed as failure:
        raise DownloadFailed(
            failure.detail,
            hint=f"Without internet: on a machine that has it, get {known.address} (or `segsmith weights fetch "
            f"{known.name} --to FOLDER`, or `segsmith weights export BUNDLE` where another server has it), carry it "
            f"here and run `segsmith weights import FILE --name {known.name}`.",
        ) from failure


def _imported(here: Invocation, archive: ArchiveFile, name: str | None, *, replace: bool) -> Job:
    upload = here.client.uploads.begin(None, archive)
    sha256 = send_archive(here, upload, archive)
    return wait_for(here, here.client.uploads.close_weights(upload, sha256, name, replace=replace))


_PINS = {
    "published digest": "as published",
    "digest that others print": "as others print it, not its publisher",
    "digest in the published name": "begins as its published name says",
    "first import": "nobody could check: no published digest is known, pinned from now on",
    "bundle": "as the bundle says",
}


def _told_digest(known: Weights) -> str:
    if known.stored is None:
        return "–"
    return f"{known.stored.sha256[:12]}… {_PINS.get(known.stored.pinned, known.stored.pinned)}"


def _cache_folder() -> Path:
    """Where downloads wait until the server has them, so that a break costs only what is missing."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "segsmith" / "weights"
