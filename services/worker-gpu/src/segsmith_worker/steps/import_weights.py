"""The import of pretrained files: one as it was published, or a bundle made by another installation."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError
from sqlmodel import Session

from segsmith_shared.database.tables import PretrainedFile, Upload
from segsmith_shared.database.weights import pin
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.pairs.archives import ArchiveLimits, extract_archive
from segsmith_shared.plans.specs import ImportWeightsSpec
from segsmith_shared.plans.weights import (
    MANIFEST,
    PRETRAINED,
    TENSORS_SUFFIX,
    BundledFile,
    BundleManifest,
    Pinned,
    PretrainedWeights,
    WeightsCorrupt,
    weights_named,
)
from segsmith_shared.vision.weights import convert_weights, sha256_of
from segsmith_worker.steps.uploaded import StopAsked, fetched, go_on_or_stop
from segsmith_worker.weight_layouts import check_layout

LARGEST_MANIFEST_BYTES = 2**20
SAFETENSORS = "application/x-safetensors"


def run(context: StepContext) -> Outcome:
    """One slice. The rows are written by the finishing transaction, so that a bundle comes whole or not at all."""
    spec = ImportWeightsSpec.model_validate(context.spec)
    try:
        with TemporaryDirectory(prefix="segsmith-weights-") as name:
            folder = Path(name)
            upload = fetched(context, spec.upload_id, folder / "upload")
            taken = _published(context, spec, upload, folder) if spec.name else _bundle(context, folder)
    except StopAsked:
        return Stopped(state={})

    def write(session: Session) -> None:
        for row in taken:
            pin(session, row, replace=spec.replace)

    return Finished(outputs={"names": [row.name for row in taken]}, in_transaction=write)


def _published(context: StepContext, spec: ImportWeightsSpec, upload: Upload, folder: Path) -> list[PretrainedFile]:
    known = weights_named(spec.name or "")
    sha256 = upload.sha256 or ""  # of the bytes in the file: they were compared when it was written
    return [_stored(context, known, folder / "upload", sha256, known.pinned_by(sha256))]


def _bundle(context: StepContext, folder: Path) -> list[PretrainedFile]:
    limits = ArchiveLimits(maximum_entries=1 + len(PRETRAINED), maximum_bytes=_largest_bundle_bytes())
    extract_archive(folder / "upload", folder / "files", limits, lambda _: go_on_or_stop(context))
    taken = []
    manifest = _manifest(folder / "files")
    for done, bundled in enumerate(manifest.files):
        context.progress(done, len(manifest.files), "files")
        go_on_or_stop(context)
        taken.append(_unbundled(context, bundled, folder / "files" / f"{bundled.name}{TENSORS_SUFFIX}"))
    return taken


def _manifest(folder: Path) -> BundleManifest:
    file = folder / MANIFEST
    try:
        if file.stat().st_size > LARGEST_MANIFEST_BYTES:
            raise WeightsCorrupt(f"The bundle's {MANIFEST} is larger than any could be.")
        return BundleManifest.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise WeightsCorrupt(
            f"The archive has no {MANIFEST}.", hint="Make bundles with `segsmith weights export`."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WeightsCorrupt(f"The bundle's {MANIFEST} is not one: {where}: {first['msg']}.") from error


def _unbundled(context: StepContext, bundled: BundledFile, file: Path) -> PretrainedFile:
    """A file of a bundle: its bytes are as its manifest says; that they come from the original, only the manifest."""
    known = weights_named(bundled.name)
    if not file.is_file() or sha256_of(file) != bundled.tensors_sha256:
        raise WeightsCorrupt(f"The bundle's {file.name} is missing or damaged.", hint="Copy the bundle again.")
    known.pinned_by(bundled.sha256)
    return _stored(context, known, file, bundled.sha256, "bundle")


def _stored(
    context: StepContext, known: PretrainedWeights, source: Path, sha256: str, pinned: Pinned
) -> PretrainedFile:
    """The wanted tensors of `source` in the object store. Raises WeightsCorrupt for another layout, before storing."""
    converted = source.with_name(f"{source.name}.converted")
    shapes = convert_weights(source, converted, keep=known.keep, drop=known.drop)
    check_layout(known.name, shapes)
    digest = context.objects.put_file(converted, SAFETENSORS)
    row = PretrainedFile(
        name=known.name,
        sha256=sha256,
        pinned=pinned,
        tensors_digest=digest,
        size_bytes=converted.stat().st_size,
        tensor_count=len(shapes),
        job_id=context.job_id,
    )
    converted.unlink()
    return row


def _largest_bundle_bytes() -> int:
    return sum(known.maximum_bytes for known in PRETRAINED.values())
