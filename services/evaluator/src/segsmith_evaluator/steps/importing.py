"""The import job: an uploaded archive becomes a dataset version, with a report of what was in it and what was not used.

One slice. Objects are put before the rows that name them, and the rows are written by the finishing transaction alone,
so that a stop, a crash or a second attempt leaves either a whole version or none.
"""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version as version_of
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from PIL import Image
from pydantic import ValidationError
from sqlalchemy import func
from sqlmodel import Session, select

from segsmith_shared.database.tables import Artifact, Dataset, DatasetVersion, Pair, PairFingerprint, Upload, UploadPart
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.pairs.archives import Extraction, extract_archive
from segsmith_shared.pairs.checking import CheckedPair, CheckOptions, Finding, ImportReport, check_folder
from segsmith_shared.pairs.contact_sheet import sheet
from segsmith_shared.pairs.near_duplicates import Look
from segsmith_shared.plans.specs import ImportSpec
from segsmith_shared.problems import InvalidInput
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.uploads import closed_upload, fetch_upload

PUTS_AT_ONCE = 4
FINDINGS_IN_ROW = 1000
SHEET_COLUMNS, SHEET_ROWS, SHEET_CELL_PX = 8, 4, 128


class NothingToImport(InvalidInput):
    """No file of the archive became a pair; the job's import-report.txt says why of each."""

    title = "The archive holds no usable pair"


class ImplausibleSet(InvalidInput):
    """Every pair can be read, and together they cannot be meant; the job's import-report.txt says why."""

    title = "The set as a whole cannot be meant"


class _StopAsked(Exception):
    """Leaves the middle of the work, wherever it is."""


def run(context: StepContext) -> Outcome:
    """Fetch, unpack, check, store. A stop loses nothing but time: there is nothing to go on from."""
    spec = ImportSpec.model_validate(context.spec)
    options = _options(spec)
    with context.reading() as session:
        upload, parts = closed_upload(session, spec.upload_id, spec.dataset_id)
    try:
        with TemporaryDirectory(prefix="segsmith-import-") as name:
            extraction = _unpacked(context, upload, parts, Path(name))
            with _Storing(context.objects) as storing:
                report = check_folder(
                    Path(name) / "files",
                    options,
                    on_progress=lambda done, total: _went_on(context, done, total),
                    on_pair=storing.take,
                    follow_links=False,
                )
                stored = storing.finish()
    except _StopAsked:
        return Stopped(state={})
    report = _with_skipped_entries(report, extraction)
    artifacts = [*_report_artifacts(context.objects, report), *_sheet_artifact(context.objects, storing.overlays)]
    if not report.accepted:
        _fail(context, report, artifacts)
    return _finished(context, spec, upload, report, stored, artifacts)


def _options(spec: ImportSpec) -> CheckOptions:
    try:
        return CheckOptions.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"Import option {where!r}: {first['msg']}.", hint="See docs/datasets.md.") from error


def _unpacked(context: StepContext, upload: Upload, parts: Iterable[UploadPart], folder: Path) -> Extraction:
    """The archive's files below `folder`/files; the archive itself is gone again, as both may be large."""
    archive = folder / "archive"
    fetch_upload(context.objects, upload, parts, archive, on_part=lambda: _go_on_or_stop(context))
    extraction = extract_archive(archive, folder / "files", on_bytes=lambda _: _go_on_or_stop(context))
    archive.unlink()
    context.message(f"unpacked {extraction.files} files", total_bytes=extraction.total_bytes)
    return extraction


def _go_on_or_stop(context: StepContext) -> None:
    if context.stop_requested():
        raise _StopAsked


def _went_on(context: StepContext, done: int, total: int) -> None:
    context.progress(done, total, "pairs")
    _go_on_or_stop(context)


@dataclass(frozen=True)
class _StoredPair:
    """A pair whose objects are in the store, lacking only its version."""

    name: str
    columns: dict[str, Any]
    look: Look


@dataclass
class _Storing:
    """Puts pairs into the object store while the next ones are read; a few at a time, in order."""

    objects: ObjectStore
    stored: list[_StoredPair] = field(default_factory=list)
    overlays: list[bytes] = field(default_factory=list)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PUTS_AT_ONCE))
    _waiting: deque[Future[_StoredPair]] = field(default_factory=deque)

    def take(self, pair: CheckedPair) -> None:
        """Put a pair, waiting while as many as allowed are on their way."""
        if len(self.overlays) < SHEET_COLUMNS * SHEET_ROWS:
            self.overlays.append(pair.encoded.overlay_jpeg)
        self._waiting.append(self._threads.submit(self._put, pair))
        if len(self._waiting) >= PUTS_AT_ONCE:
            self.stored.append(self._waiting.popleft().result())

    def finish(self) -> list[_StoredPair]:
        while self._waiting:
            self.stored.append(self._waiting.popleft().result())
        return self.stored

    def _put(self, pair: CheckedPair) -> _StoredPair:
        encoded = pair.encoded
        return _StoredPair(
            pair.name,
            {
                "image_digest": self.objects.put_bytes(encoded.image_png, "image/png"),
                "label_digest": self.objects.put_bytes(encoded.label_png, "image/png"),
                "thumbnail_digest": self.objects.put_bytes(encoded.thumbnail_jpeg, "image/jpeg"),
                "overlay_digest": self.objects.put_bytes(encoded.overlay_jpeg, "image/jpeg"),
                "width_px": pair.read.width_px,
                "height_px": pair.read.height_px,
                "lesion_fraction": pair.read.lesion_fraction,
                "lesion_count": pair.read.lesion_count,
            },
            pair.read.look,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def _with_skipped_entries(report: ImportReport, extraction: Extraction) -> ImportReport:
    skipped = [
        Finding(severity="error", code="archive-entry", file=entry.name, what=f"not unpacked: {entry.why}")
        for entry in extraction.skipped
    ]
    return report.model_copy(update={"findings": [*skipped, *report.findings]})


ArtifactFields = tuple[str, str, str, int]


def _report_artifacts(objects: ObjectStore, report: ImportReport) -> Iterable[ArtifactFields]:
    for name, media_type, text in (
        ("import-report.json", "application/json", report.model_dump_json(indent=1)),
        ("import-report.txt", "text/plain; charset=utf-8", report.in_words() + "\n"),
    ):
        data = text.encode()
        yield name, media_type, objects.put_bytes(data, media_type), len(data)


def _sheet_artifact(objects: ObjectStore, overlays: list[bytes]) -> Iterable[ArtifactFields]:
    """The first pairs with their labels outlined, to see at a glance whether labels fit."""
    if overlays:
        pictures = [Image.open(BytesIO(jpeg)) for jpeg in overlays]
        rows = [pictures[start : start + SHEET_COLUMNS] for start in range(0, len(pictures), SHEET_COLUMNS)]
        data = sheet(rows, cell_px=SHEET_CELL_PX)
        yield "import-sheet.png", "image/png", objects.put_bytes(data, "image/png"), len(data)


def _fail(context: StepContext, report: ImportReport, artifacts: Iterable[ArtifactFields]) -> None:
    """Keep the report of a job that fails, then fail it."""
    context.store(
        Artifact(job_id=context.job_id, name=name, media_type=media_type, digest=digest, size_bytes=size)
        for name, media_type, digest, size in artifacts
    )
    if report.refused:
        reasons = [f"{each.what} ({each.file})" for each in report.findings if each.code in report.refused]
        raise ImplausibleSet(
            f"Nothing of {report.counts.accepted} pairs was imported: {'; '.join(reasons[:3])}.",
            hint="The job's import-report.txt says what to do; without --strict doubts are warnings.",
        )
    errors = [f"{finding.file}: {finding.what}" for finding in report.findings if finding.severity == "error"]
    raise NothingToImport(
        f"None of {report.counts.files} files became a pair. " + "; ".join(errors[:3]),
        hint="The job's import-report.txt names every file.",
        findings=len(errors),
    )


def _finished(
    context: StepContext,
    spec: ImportSpec,
    upload: Upload,
    report: ImportReport,
    stored: list[_StoredPair],
    artifacts: list[ArtifactFields],
) -> Finished:
    made = DatasetVersion(
        dataset_id=spec.dataset_id,
        number=1,  # set when it is written
        label=spec.label,
        origin=spec.origin,
        pair_count=len(stored),
        digest=_digest(stored),
        class_names=report.class_names,
        report=report.shortened(FINDINGS_IN_ROW).model_dump(mode="json"),
        provenance={
            "upload_id": str(upload.id),
            "filename": upload.filename,
            "sha256": upload.sha256,
            "layout": report.layout,
            "options": spec.options,
            "segsmith": version_of("segsmith-shared"),
        },
        created_by_job_id=context.job_id,
    )
    groups = {name: number for number, names in enumerate(report.groups) for name in names}
    rows = [
        Pair(
            version_id=made.id,
            position=position,
            name=pair.name,
            near_duplicate_group=groups.get(pair.name),
            **pair.columns,
        )
        for position, pair in enumerate(stored)
    ]
    fingerprints = [
        PairFingerprint(pair_id=row.id, hash_bytes=pair.look.hash_bytes, colour_print=pair.look.colour_print)
        for row, pair in zip(rows, stored, strict=True)
    ]
    return Finished(
        outputs={"version_id": str(made.id), "pair_count": len(rows)},
        artifacts=artifacts,
        in_transaction=lambda session: _write(session, made, rows, fingerprints),
    )


def _write(session: Session, made: DatasetVersion, rows: list[Pair], fingerprints: list[PairFingerprint]) -> None:
    """Version, pairs and fingerprints, numbered after the last; the dataset's row is locked: two imports take turns."""
    session.exec(select(Dataset.id).where(Dataset.id == made.dataset_id).with_for_update()).one()
    last = select(func.coalesce(func.max(DatasetVersion.number), 0)).where(DatasetVersion.dataset_id == made.dataset_id)
    made.number = session.exec(last).one() + 1
    session.add(made)
    session.flush()  # pairs refer to it
    session.add_all(rows)
    session.flush()  # fingerprints refer to them
    session.add_all(fingerprints)


def _digest(stored: Iterable[_StoredPair]) -> str:
    lines = (f"{pair.name} {pair.columns['image_digest']} {pair.columns['label_digest']}\n" for pair in stored)
    return sha256("".join(lines).encode()).hexdigest()
