"""A folder's way to a version on the server, with its progress and the report of what was found."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from segsmith.command.invocation import Invocation
from segsmith.command.progress import Board, view_on
from segsmith.command.tables import size
from segsmith.packing import Archive, archive_of
from segsmith.problems import FolderNotFound
from segsmith.uploads import OnBytes
from segsmith.values import Job, Upload, Version
from segsmith_shared.pairs.classes import LabelKind, checked_classes, is_background
from segsmith_shared.pairs.grouping import check_column, check_pattern
from segsmith_shared.pairs.id_lists import read_id_list
from segsmith_shared.pairs.import_report import ImportReport
from segsmith_shared.plans.presets import Procedure
from segsmith_shared.problems import InvalidInput, Problem


class JobDidNotSucceed(Problem):
    """A job that was waited for failed or was cancelled."""

    status = 500
    title = "The job did not succeed"


@dataclass(frozen=True)
class Imported:
    """A version and what its import found."""

    version: Version
    report: ImportReport


def upload_archive(here: Invocation, upload: Upload, archive: Archive, **import_options: Any) -> Job:
    """Send what is missing, with a bar, and begin the import."""
    return here.client.uploads.close(upload, send_archive(here, upload, archive), **import_options)


def send_archive(here: Invocation, upload: Upload, archive: Archive) -> str:
    """Send what is missing, with a bar; returns the SHA-256 of the whole."""
    here.note(f"Uploading {archive.filename} ({size(archive.size_bytes)})")
    with bytes_bar(here, "uploading", archive.size_bytes) as on_bytes:
        return here.client.uploads.send(upload.id, archive, on_bytes)


@contextmanager
def bytes_bar(here: Invocation, doing: str, total_bytes: int) -> Iterator[OnBytes]:
    """A bar of bytes in a terminal, nothing in a log; yields what is told (bytes done, bytes in all)."""
    with Progress(
        TextColumn(doing),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=here.progress,
        transient=True,
        disable=not here.progress.is_terminal,
    ) as bars:
        task = bars.add_task(doing, total=total_bytes)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def import_pairs(here: Invocation, job: Job, archive: Archive) -> Imported:
    """Wait for an import job; its report, with what was not in the archive. Raises JobDidNotSucceed with its reason."""
    ended = wait_for(here, job)
    version = here.client.version_made_by(ended)
    report = ImportReport.model_validate(here.client.versions.report(version.id))
    return Imported(version, report.model_copy(update={"findings": [*archive.findings, *report.findings]}))


def wait_for(here: Invocation, job: Job) -> Job:
    """Show a single job until it has ended. Raises JobDidNotSucceed."""
    with view_on(here.progress) as view:
        board = Board(view, lambda: [job])
        for event in here.client.jobs.events(job.id):
            board.take(event)
    ended = here.client.jobs.get(job.id)
    if ended.status != "succeeded":
        problem = ended.problem
        detail = f"{problem.title}: {problem.detail}" if problem else f"{job.name or job.kind} is {ended.status}."
        raise JobDidNotSucceed(detail, hint=problem.hint if problem else "")
    return ended


def packed(here: Invocation, source: Path) -> Archive:
    """A folder or an archive ready to be sent; what of it cannot be sent is said. Raises as `archive_of` does."""
    archive = archive_of(source)
    for finding in archive.findings:
        if finding.severity == "error":
            here.note(f"{finding.file}: {finding.what}")
    return archive


@dataclass(frozen=True)
class FolderOptions:
    """How the command line says that a folder is read, and what makes it refuse a set. `side_px`: the model's side."""

    classes: str | None = None
    labels: LabelKind = "auto"
    foreground: str | None = None
    strict: bool = False
    side_px: int | None = None
    group_pattern: str | None = None
    group_column: str | None = None
    procedure: Procedure = "corrected"


def import_options(ids: Path | None, reading: FolderOptions) -> dict[str, Any]:
    """The options of an import as plain values, only those given.

    Raises FolderNotFound, WrongClasses, UnreadableText, and InvalidInput where options contradict each other or name no
    groups.
    """
    given: dict[str, Any] = {}
    if ids is not None:
        given["ids"] = read_ids(ids)
    given |= _label_options(reading) | _group_options(reading)
    if reading.strict:
        given["strict"] = True
    if reading.side_px is not None:
        given["at_side_px"] = reading.side_px
    if reading.procedure != "corrected":
        given["procedure"] = reading.procedure
    return given


def _label_options(reading: FolderOptions) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if reading.classes is not None:
        given["classes"] = parse_classes(reading.classes)
    if reading.labels != "auto":
        given["labels"] = reading.labels
    if reading.foreground is not None:
        given["foreground"] = parse_foreground(reading.foreground)
    if reading.foreground is not None and (reading.classes is not None or reading.labels != "auto"):
        raise InvalidInput("--foreground excludes --classes and --labels.", hint="Give one of them.")
    if reading.classes is not None and reading.labels not in {"auto", "classes"}:
        raise InvalidInput(f"--classes excludes --labels {reading.labels}.", hint="Give one of them.")
    return given


def _group_options(reading: FolderOptions) -> dict[str, Any]:
    given: dict[str, Any] = {}
    try:
        if reading.group_pattern is not None:
            given["group_pattern"] = check_pattern(reading.group_pattern)
        if reading.group_column is not None:
            given["group_column"] = check_column(reading.group_column)
    except ValueError as error:
        raise InvalidInput(f"{error}.") from error
    if {"group_pattern", "group_column"} <= given.keys():
        raise InvalidInput("Groups come from a pattern or from a column.", hint="Leave one of the two options out.")
    return given


def parse_foreground(text: str) -> str:
    """A value 0 … 65535 or a colour #rrggbb, as an import takes it. Raises InvalidInput."""
    if not re.fullmatch(r"\d{1,5}|#[0-9a-fA-F]{6}", text.strip()):
        raise InvalidInput(f"{text!r} is no value and no colour.", hint="E.g. --foreground 0 or --foreground '#ff0000'")
    return text.strip().lower()


def parse_classes(text: str) -> list[dict[str, Any]]:
    """`polyp=1,instrument=2`, `polyp=#ff0000,…`, or names alone, which are the values 1, 2 …. Raises WrongClasses.

    Names alone that begin with `background` count from 0, as such lists are written.
    """
    entries = [entry.partition("=") for entry in text.split(",")]
    if not any(equals for _, equals, _ in entries):
        first = 0 if is_background(entries[0][0]) else 1
        entries = [(name, "=", str(value)) for value, (name, _, _) in enumerate(entries, start=first)]
    classes = [
        {"name": name.strip(), "colour" if sign.strip().startswith("#") else "value": sign.strip() or None}
        for name, _, sign in entries
    ]
    return [each.model_dump(exclude_none=True) for each in checked_classes(classes)]


def read_ids(file: Path) -> list[str]:
    """The lines of a file that name pairs, in any encoding. Raises FolderNotFound, UnreadableText, InvalidInput."""
    try:
        names = read_id_list(file.read_bytes(), str(file))
    except OSError as error:
        raise FolderNotFound(f"{file} cannot be read as a list of names: {error.strerror}.") from error
    if not names:
        raise InvalidInput(f"{file} lists no names.", hint="Write one name of a pair per line.")
    return names
