"""The Python client: every noun of the REST interface, typed; uploads resume, events are never lost."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self
from urllib.parse import urlencode
from uuid import UUID

import httpx

from segsmith.events import follow
from segsmith.packing import Archive, archive_of
from segsmith.problems import ServerUnreachable, TransferBroken
from segsmith.transport import Pauses, Transport
from segsmith.uploads import OnBytes, send_parts
from segsmith.values import (
    ApiKey,
    Artifact,
    Dataset,
    Evaluation,
    Event,
    Generation,
    Job,
    Judge,
    Judgement,
    Model,
    Page,
    Pair,
    Pipeline,
    SegmentationRun,
    Split,
    Upload,
    Value,
    Verification,
    Version,
    Weights,
)
from segsmith_shared.plans.specs import ModelImport, PipelineSpec

SECONDS_PER_GIB = 120.0


class Collection(Generic[Value]):
    """The things of one kind under one path."""

    def __init__(self, transport: Transport, path: str, shape: type[Value]) -> None:
        self._transport = transport
        self._path = path
        self._shape = shape

    def get(self, identity: UUID | str) -> Value:
        """One thing. Raises ApiProblem (404) when there is none."""
        return self._shape.model_validate(self._transport.get(f"{self._path}/{identity}"))

    def list(self, **filters: Any) -> Iterator[Value]:
        """All things, page by page, newest first unless they have an order of their own."""
        return self._pages(self._path, self._shape, **filters)

    def _pages(self, path: str, shape: type[Value], **filters: Any) -> Iterator[Value]:
        cursor: str | None = None
        while True:
            page = Page[shape].model_validate(  # type: ignore[valid-type]  # a model made for this shape while running
                self._transport.get(path, limit=200, cursor=cursor, **filters)
            )
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _act(self, identity: UUID | str, action: str) -> Value:
        return self._shape.model_validate(self._transport.post(f"{self._path}/{identity}/{action}"))


class Datasets(Collection[Dataset]):
    """Names under which versions gather."""

    def create(self, name: str, description: str = "") -> Dataset:
        return Dataset.model_validate(self._transport.post(self._path, {"name": name, "description": description}))

    def versions(self, dataset_id: UUID) -> Iterator[Version]:
        return Collection(self._transport, f"{self._path}/{dataset_id}/versions", Version).list()


class Uploads(Collection[Upload]):
    """Archives and weights on their way in."""

    def begin(self, dataset_id: UUID | None, archive: Archive) -> Upload:
        """Announce an archive of a dataset, or, without one, a file of weights."""
        request = {"filename": archive.filename, "size_bytes": archive.size_bytes}
        path = f"/v1/datasets/{dataset_id}/uploads" if dataset_id else self._path
        return Upload.model_validate(self._transport.post(path, request))

    def send(self, upload_id: UUID, archive: Archive, on_bytes: OnBytes | None = None) -> str:
        """Send what the server does not have yet; returns the SHA-256 that `close` wants."""
        return send_parts(self._transport, upload_id, archive, on_bytes)

    def close(self, upload: Upload, sha256: str, **import_options: Any) -> Job:
        """Say that all is there. The server checks every byte, then the import job it answers with begins.

        `import_options`: label, origin (real or external), options (see docs/datasets.md).
        """
        return self._close(upload, {"sha256": sha256, "import": import_options})

    def close_weights(self, upload: Upload, sha256: str, name: str | None, *, replace: bool = False) -> Job:
        """As `close`, for the pretrained file `name`, or, without a name, a bundle; `replace` gives up an older pin."""
        return self._close(upload, {"sha256": sha256, "weights": {"name": name, "replace": replace}})

    def close_model(self, upload: Upload, sha256: str, told: ModelImport) -> Job:
        """As `close`, for a checkpoint that becomes a model; the job's outputs name it."""
        return self._close(upload, {"sha256": sha256, "model": told.model_dump(mode="json")})

    def _close(self, upload: Upload, request: dict[str, Any]) -> Job:
        timeout_seconds = 60 + SECONDS_PER_GIB * upload.size_bytes / 2**30
        answer = self._transport.post(f"{self._path}/{upload.id}/close", request, timeout_seconds=timeout_seconds)
        return Job.model_validate(answer)


class Versions(Collection[Version]):
    """Immutable lists of pairs."""

    def report(self, version_id: UUID) -> dict[str, Any]:
        """What the import found, as `segsmith_shared.pairs.checking.ImportReport`'s document."""
        report: dict[str, Any] = self._transport.get(f"{self._path}/{version_id}/report")
        return report

    def pairs(self, version_id: UUID, name: str | None = None) -> Iterator[Pair]:
        return Collection(self._transport, f"{self._path}/{version_id}/pairs", Pair).list(name=name)

    def splits(self, version_id: UUID) -> Iterator[Split]:
        return Collection(self._transport, f"{self._path}/{version_id}/splits", Split).list()

    def split(
        self,
        version_id: UUID,
        name: str,
        *,
        fractions: dict[str, float] | None = None,
        parts: dict[str, list[str]] | None = None,
        seed: int = 0,
    ) -> Split:
        """Divide a version by shares or by lists of pair names; near-duplicates stay together."""
        request: dict[str, Any] = {"name": name, "seed": seed}
        request |= {"fractions": fractions} if fractions is not None else {"parts": parts}
        return Split.model_validate(self._transport.post(f"{self._path}/{version_id}/splits", request))

    def download(self, version_id: UUID, file: Path) -> Path:
        """The version as a zip of images/, masks/ and provenance.jsonl."""
        return _download(self._transport, f"{self._path}/{version_id}/archive", file)


class Pipelines(Collection[Pipeline]):
    """Whole runs."""

    def submit(self, spec: PipelineSpec) -> Pipeline:
        return Pipeline.model_validate(self._transport.post(self._path, spec.model_dump(mode="json")))

    def plan(self, spec: PipelineSpec) -> dict[str, Any]:
        """The graph of jobs and the cost, before anything runs."""
        plan: dict[str, Any] = self._transport.post(self._path, spec.model_dump(mode="json"), dry_run="true")
        return plan

    def cancel(self, pipeline_id: UUID) -> Pipeline:
        return self._act(pipeline_id, "cancel")

    def pause(self, pipeline_id: UUID) -> Pipeline:
        return self._act(pipeline_id, "pause")

    def resume(self, pipeline_id: UUID) -> Pipeline:
        return self._act(pipeline_id, "resume")

    def events(self, pipeline_id: UUID, after: int = 0) -> Iterator[Event]:
        """Events of all its jobs, past and coming, until the pipeline has ended."""
        return follow(self._transport, f"{self._path}/{pipeline_id}/events", after)

    def artifacts(self, pipeline_id: UUID) -> Iterator[Artifact]:
        return Collection(self._transport, f"{self._path}/{pipeline_id}/artifacts", Artifact).list()


class Jobs(Collection[Job]):
    """Units of work."""

    def cancel(self, job_id: UUID) -> Job:
        return self._act(job_id, "cancel")

    def pause(self, job_id: UUID) -> Job:
        return self._act(job_id, "pause")

    def resume(self, job_id: UUID) -> Job:
        return self._act(job_id, "resume")

    def retry(self, job_id: UUID) -> Job:
        return self._act(job_id, "retry")

    def events(self, job_id: UUID, after: int = 0) -> Iterator[Event]:
        """Events of the job, past and coming, until it has ended."""
        return follow(self._transport, f"{self._path}/{job_id}/events", after)

    def wait(self, job_id: UUID) -> Job:
        """The job once it has ended, in whatever way."""
        for _ in self.events(job_id):
            pass
        return self.get(job_id)

    def artifacts(self, job_id: UUID) -> Iterator[Artifact]:
        return Collection(self._transport, f"{self._path}/{job_id}/artifacts", Artifact).list()


class WeightsOfServer(Collection[Weights]):
    """Pretrained files, by name."""

    def verify(self, known: Weights) -> Verification:
        """Have the server read the stored file and compare its digest."""
        size_bytes = known.stored.size_bytes if known.stored else 0
        path = f"{self._path}/{known.name}/verification"
        answer = self._transport.request("GET", path, timeout_seconds=60 + SECONDS_PER_GIB * size_bytes / 2**30)
        return Verification.model_validate(answer.json())

    def export(self, file: Path, names: Sequence[str] = ()) -> Path:
        """All that are stored, or those of these names, as one tar for a machine without internet."""
        query = f"?{urlencode([('name', name) for name in names])}" if names else ""
        return _download(self._transport, f"/v1/weights-bundle{query}", file)


class Models(Collection[Model]):
    """Diffusion models, trained or imported."""

    def create(self, pretrained: str, told: ModelImport | None = None) -> Job:
        """Begin to make a model of a pretrained file that the server has."""
        request = {"pretrained": pretrained, "told": (told or ModelImport()).model_dump(mode="json")}
        return Job.model_validate(self._transport.post(self._path, request))


class Artifacts:
    """Files that jobs left for people."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def download(self, artifact: Artifact, file: Path) -> Path:
        """Write the artifact to `file` and check its digest. Raises TransferBroken."""
        return _download(self._transport, f"/v1/artifacts/{artifact.id}", file, artifact.digest)


class ApiKeys(Collection[ApiKey]):
    """Who may come in."""

    def create(self, name: str) -> ApiKey:
        """A new key; this answer alone shows it."""
        return ApiKey.model_validate(self._transport.post(self._path, {"name": name}))

    def revoke(self, key_id: UUID) -> ApiKey:
        return ApiKey.model_validate(self._transport.request("DELETE", f"{self._path}/{key_id}").json())


class Client:
    """One segsmith server. Safe to use from several threads; close it, or use it in a `with` statement.

    `patience_seconds` is how long a request is repeated while the server is away or busy; repeating is safe, because
    every POST carries an idempotency key.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        patience_seconds: float = 60.0,
        handler: httpx.BaseTransport | None = None,
    ) -> None:
        transport = Transport(url, api_key, patience_seconds=patience_seconds, handler=handler)
        self._transport = transport
        self.url = transport.url
        self.datasets = Datasets(transport, "/v1/datasets", Dataset)
        self.uploads = Uploads(transport, "/v1/uploads", Upload)
        self.versions = Versions(transport, "/v1/versions", Version)
        self.splits = Collection(transport, "/v1/splits", Split)
        self.pipelines = Pipelines(transport, "/v1/pipelines", Pipeline)
        self.jobs = Jobs(transport, "/v1/jobs", Job)
        self.artifacts = Artifacts(transport)
        self.models = Models(transport, "/v1/models", Model)
        self.weights = WeightsOfServer(transport, "/v1/weights", Weights)
        self.generations = Collection(transport, "/v1/generations", Generation)
        self.evaluations = Collection(transport, "/v1/evaluations", Evaluation)
        self.judges = Collection(transport, "/v1/judges", Judge)
        self.judgements = Collection(transport, "/v1/judgements", Judgement)
        self.segmentation_runs = Collection(transport, "/v1/segmentation-runs", SegmentationRun)
        self.api_keys = ApiKeys(transport, "/v1/api-keys", ApiKey)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def import_folder(
        self, dataset_id: UUID, path: Path, *, on_bytes: OnBytes | None = None, **import_options: Any
    ) -> Job:
        """Upload a folder (or an archive) and begin its import; the job's outputs name the version it makes."""
        archive = archive_of(path)
        upload = self.uploads.begin(dataset_id, archive)
        return self.uploads.close(upload, self.uploads.send(upload.id, archive, on_bytes), **import_options)

    def version_made_by(self, job: Job) -> Version:
        """The version an import job made."""
        return next(Collection(self._transport, "/v1/versions", Version).list(created_by_job_id=job.id))


def _download(transport: Transport, path: str, file: Path, sha256: str | None = None) -> Path:
    """Stream to a file that appears only when it is whole. Raises TransferBroken when the digest is another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.part")
    pauses = Pauses(transport.patience_seconds)
    while True:
        try:
            digest = _fetch(transport, path, draft)
            break
        except httpx.TransportError as error:
            try:
                transport.wait_or_raise(pauses, error)
            except ServerUnreachable:
                draft.unlink(missing_ok=True)
                raise
    if sha256 not in {None, digest}:
        draft.unlink()
        raise TransferBroken(f"{file.name} arrived with another digest than the server has.", hint="Try again.")
    return draft.replace(file)


def _fetch(transport: Transport, path: str, draft: Path) -> str:
    digest = hashlib.sha256()
    with transport.stream(path) as response, draft.open("wb") as out:
        for chunk in response.iter_bytes():
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
