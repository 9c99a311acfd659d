"""The rows of a large installation, by COPY: one pipeline at work, and older ones that have ended."""

import json
import time
from collections.abc import Iterable, Iterator
from hashlib import md5, sha256
from itertools import chain, islice, pairwise
from uuid import UUID

import psycopg

from benchmarks.scale.sizes import Size
from segsmith_shared.plans.presets import preset_named

PRESET = preset_named("paper-256-2024").model_dump(mode="json")
LINES_AT_ONCE = 5000
Row = tuple[object, ...]
Edge = tuple[str, str, bool]
OLD, WAITING, RECENT = "2026-01-01 00:00:00+00", "2026-01-02 00:00:00+00", "2026-01-02 01:00:00+00"


def identity(noun: str, number: int = 0) -> str:
    """A made-up row's id."""
    return md5(f"{noun}/{number}".encode(), usedforsecurity=False).hexdigest()


def uuid_of(noun: str, number: int = 0) -> UUID:
    return UUID(identity(noun, number))


def load(connection: psycopg.Connection, size: Size) -> dict[str, float]:
    """Fill the migrated, empty database. Table -> seconds."""
    jobs, edges = list(_jobs(size)), list(_edges(size))
    tables: dict[str, tuple[str, Iterable[Row]]] = {
        "dataset": ("id, name, description", [(identity("dataset"), "large", ""), (identity("sets"), "sets", "")]),
        "dataset_version": (
            "id, dataset_id, number, label, origin, pair_count, digest, report, provenance",
            [(identity("version"), identity("dataset"), 1, "", "real", size.pairs, _digest("v", 0), "{}", "{}")],
        ),
        "pipeline": ("id, name, spec, plan, created_at", _pipelines(size)),
        "job": (
            "id, pipeline_id, kind, name, queue, priority, status, waits, spec, fence, attempts, max_attempts,"
            " slice_number, wrap_up_seconds, cancel_requested, pause_requested, progress_done, progress_total,"
            " progress_unit, outputs, run_seconds, peak_memory_bytes, created_at, finished_at",
            jobs,
        ),
        "job_dependency": ("job_id, needs_id, even_if_failed", edges),
        "event": ("job_id, pipeline_id, kind, data, created_at", _events(jobs)),
        "pair": (
            "id, version_id, position, name, image_digest, label_digest, thumbnail_digest, overlay_digest, width_px,"
            " height_px, lesion_fraction, lesion_count, near_duplicate_group",
            _pairs(size),
        ),
        "split": ("id, version_id, name, parameters, parts, created_at", _splits(size)),
        "clustering": (
            "id, version_id, job_id, cluster_count, method, extractor, assignments, report, created_at",
            [_clustering(size)],
        ),
        "model": (
            "id, job_id, recipe, clustering_id, cluster, preset, images_seen, training_images, weights,"
            " checkpoint_digest, curve, created_at",
            _models(size),
        ),
        "generation": (
            "id, pipeline_id, recipe, source_version_id, dataset_id, spec, version_ids, counts, created_at",
            [_generation()],
        ),
        "sample": (
            "id, generation_id, job_id, source_pair_id, model_id, cluster, sample_index, seed, accepted,"
            " rejection_reason, image_digest, label_digest, region_digest, thumbnail_digest, overlay_digest,"
            " source_digest, source_label_digest, evaluations, lesion_fraction, lesion_count, provenance, created_at",
            _samples(size),
        ),
    }
    seconds = {name: _copied(connection, name, columns, rows) for name, (columns, rows) in tables.items()}
    connection.execute("ANALYZE")
    return seconds


def _copied(connection: psycopg.Connection, table: str, columns: str, rows: Iterable[Row]) -> float:
    began = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        lines = map(_line, rows)
        while some := "".join(islice(lines, LINES_AT_ONCE)):
            copy.write(some)
    connection.commit()
    return time.perf_counter() - began


def _line(row: Row) -> str:
    return "\t".join("\\N" if value is None else str(value) for value in row) + "\n"


def _digest(what: str, number: int) -> str:
    return sha256(f"{what}/{number}".encode()).hexdigest()


def _pipelines(size: Size) -> Iterator[Row]:
    yield identity("pipeline"), "large", "{}", "{}", RECENT
    for number in range(1, size.ended_pipelines + 1):
        yield identity("pipeline", number), f"ended {number}", "{}", "{}", OLD


def _jobs(size: Size) -> Iterator[Row]:
    yield _job("cluster", 0, "succeeded", OLD)
    for number in range(size.clusters):
        yield _job("train", number, "succeeded" if number % 2 else "queued", RECENT)
    generation = {"generation_id": str(uuid_of("generation")), "shares": size.generate_jobs, "torch_threads": 1}
    for number in range(size.generate_jobs):
        yield _job("generate", number, "queued", WAITING, spec=generation | {"share": number})
    yield _job("evaluate", 0, "queued", WAITING, queue="cpu")
    for number in range(size.waiting_jobs):
        yield _job("segment", number, "queued", WAITING)
    yield _job("report", 0, "queued", WAITING, queue="cpu")
    for number in range(1000 * size.ended_pipelines):
        yield _job("ended", number, "succeeded", OLD, pipeline=1 + number // 1000, kind="segment")


def _job(
    noun: str,
    number: int,
    status: str,
    created_at: str,
    *,
    kind: str | None = None,
    queue: str = "gpu",
    pipeline: int = 0,
    spec: dict[str, object] | None = None,
) -> Row:
    ended = status == "succeeded"
    return (
        identity(noun, number),
        identity("pipeline", pipeline),
        kind or noun,
        f"{noun} {number}",
        queue,
        0,
        status,
        "t" if created_at == WAITING and noun != "report" else "f",
        json.dumps(spec or {"preset": PRESET, "seed": number, "torch_threads": 1}),
        int(ended),
        0,
        3,
        int(ended),
        0.5,
        "f",
        "f",
        100,
        100,
        "images",
        "{}",
        300.0,
        2**31,
        created_at,
        created_at if ended else None,
    )


def _edges(size: Size) -> Iterator[Row]:
    trainings = [identity("train", number) for number in range(size.clusters)]
    drawn = [identity("generate", number) for number in range(size.generate_jobs)]
    studied = [identity("segment", number) for number in range(size.waiting_jobs)]
    evaluated, reported = identity("evaluate"), identity("report")
    ended = [identity("ended", number) for number in range(1000 * size.ended_pipelines)]
    edges: Iterator[tuple[str, str]] = chain(
        ((training, identity("cluster")) for training in trainings),
        ((generate, training) for generate in drawn for training in trainings),
        ((evaluated, generate) for generate in drawn),
        ((segment, evaluated) for segment in studied),
        ((job, need) for need, job in pairwise(ended)),
    )
    return chain(((job, need, "f") for job, need in edges), ((reported, segment, "t") for segment in studied))


def _events(jobs: Iterable[Row]) -> Iterator[Row]:
    data = json.dumps({"status": "succeeded", "slice_number": 3, "attempts": 0})
    figures = json.dumps({"done": 320, "total": 800, "unit": "images", "loss": 0.0412})
    for job in jobs:
        for place in range(4):
            told = ("status", data) if place % 2 else ("progress", figures)
            yield job[0], job[1], *told, job[22]


def _pairs(size: Size) -> Iterator[Row]:
    version = identity("version")
    for number in range(size.pairs):
        digests = (_digest(part, number) for part in ("image", "label", "thumbnail", "overlay"))
        yield identity("pair", number), version, number, f"pair-{number:07}", *digests, 622, 530, 0.17, 1, None


def _splits(size: Size) -> Iterator[Row]:
    """Nine of ten pairs train."""
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for number in range(size.pairs):
        parts["test" if number % 10 == 9 else "train"].append(str(uuid_of("pair", number)))
    yield identity("split"), identity("version"), "tenth", "{}", json.dumps(parts), OLD


def _clustering(size: Size) -> Row:
    assignments = {str(uuid_of("pair", number)): number % size.clusters for number in range(size.pairs)}
    return (
        identity("clustering"),
        identity("version"),
        identity("cluster"),
        size.clusters,
        "k-means",
        "{}",
        json.dumps(assignments),
        "{}",
        OLD,
    )


def _models(size: Size) -> Iterator[Row]:
    preset = json.dumps(PRESET)
    for number in range(size.clusters):
        yield (
            identity("model", number),
            identity("train", number),
            "Diff",
            identity("clustering"),
            number,
            preset,
            800_000,
            size.pairs // size.clusters,
            "ema",
            _digest("checkpoint", number),
            "{}",
            RECENT,
        )


def _generation() -> Row:
    order = {
        "pairs": {"version_id": str(uuid_of("version"))},
        "geometry": "squash",
        "preset": PRESET,
        "strategy": "per_cluster",
        "source_limit": None,
        "seed": 1,
    }
    ids = identity("generation"), identity("pipeline"), "Diff", identity("version"), identity("sets")
    return *ids, json.dumps(order), "{}", "{}", RECENT


def _samples(size: Size) -> Iterator[Row]:
    """One of each pair, every twentieth rejected."""
    generation = identity("generation")
    jobs = [identity("generate", number) for number in range(size.generate_jobs)]
    models = [identity("model", number) for number in range(size.clusters)]
    provenance = json.dumps(
        {
            "sampling": PRESET["sampling"],
            "procedure": PRESET["procedure"],
            "placement": {"mode": "squash", "scale": 0.48, "left_px": 0, "top_px": 0},
            "torch_threads": 1,
            "device": "NVIDIA H100 80GB HBM3",
            "code_version": "0.1.0",
        }
    )
    parts = ("image", "label", "region", "thumbnail", "overlay", "source", "source label")
    for number in range(size.pairs):
        rejected = number % 20 == 19
        yield (
            identity("sample", number),
            generation,
            jobs[number % size.generate_jobs],
            identity("pair", number),
            models[number % size.clusters],
            number % size.clusters,
            1,
            number,
            "f" if rejected else "t",
            "empty_label" if rejected else None,
            *(_digest(f"sample {part}", number) for part in parts),
            20,
            0.16,
            1,
            provenance,
            RECENT,
        )
