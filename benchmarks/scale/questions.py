"""The questions: what workers, the caretaker, the API and housekeeping ask of a large installation."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from benchmarks.scale.asking import Question
from benchmarks.scale.loading import uuid_of
from benchmarks.scale.sizes import Size
from segsmith_api.pagination import PageRequest
from segsmith_api.records import datasets, jobs, pipelines, science
from segsmith_shared.database import generations
from segsmith_shared.database.pairs import count_pairs, drawn_pairs, pairs_after, pairs_of
from segsmith_shared.database.tables import Clustering, Generation, JobKind, JobStatus, Sample
from segsmith_shared.jobs import events, needs, queue, states
from segsmith_shared.jobs.caretaker import forget_old
from segsmith_shared.jobs.heartbeat import BEAT
from segsmith_shared.plans.specs import PartRef
from segsmith_shared.storage.references import every_digest_named

VERSION = PartRef(version_id=uuid_of("version"))
TRAINED = PartRef(version_id=uuid_of("version"), split_id=uuid_of("split"), part="train")
GENERATION = uuid_of("generation")
PIPELINE = uuid_of("pipeline")


def questions(size: Size) -> Iterator[Question]:
    yield from _of_workers()
    yield from _of_the_caretaker()
    yield from _of_the_api(size)
    yield from _of_steps(size)


def _of_workers() -> Iterator[Question]:
    yield Question("claim a job behind blocked ones", lambda s: states.claim(s, "gpu", "bench"))
    yield Question("claim where nothing can start", lambda s: states.claim(s, "cpu", "bench"))
    yield Question("how many jobs can start (after every job)", queue.claimable_counts)
    yield Question("beat", _beat)
    yield Question("is this the generation's last job (after every generate job)", _close_unfinished)
    yield Question("models of a generation", _models)


def _of_the_caretaker() -> Iterator[Question]:
    yield Question("caretaker: rescue the silent", lambda s: states.rescue_silent(s, 30))
    yield Question("caretaker: cancel orphans", states.cancel_orphans)
    yield Question("caretaker: take late notes off", needs.release_all)
    yield Question("caretaker: forget old events", forget_old)


def _of_the_api(size: Size) -> Iterator[Question]:
    yield Question("jobs, first page", lambda s: jobs.page(s, _first()))
    yield Question("jobs of a pipeline, first page", lambda s: jobs.page(s, _first(), pipeline_id=PIPELINE))
    yield Question("failed jobs (there are none)", lambda s: jobs.page(s, _first(), status=JobStatus.FAILED))
    yield Question("jobs of a kind", lambda s: jobs.page(s, _first(), kind=JobKind.TRAIN))
    yield Question("job counts for /metrics", jobs.counts)
    yield Question("pipelines with their tallies", lambda s: pipelines.page(s, _first()))
    yield Question("the large pipeline, whole", lambda s: pipelines.detail(s, PIPELINE))
    yield Question("events of the pipeline, 500", lambda s: events.read(s, pipeline_id=PIPELINE, after_id=1000))
    yield Question("artifacts of the pipeline", lambda s: jobs.artifacts_page(s, _first(), pipeline_id=PIPELINE))
    yield Question("models of the pipeline", lambda s: science.models_page(s, _first(), PIPELINE, None))
    yield Question("pairs, first page", lambda s: datasets.pairs_page(s, _first(), VERSION.version_id, None))
    yield Question("pairs, a page at the end", lambda s: pairs_after(s, VERSION.version_id, size.pairs - 300, 200))
    yield Question("samples, first page", lambda s: science.samples_page(s, _first(), GENERATION, None))
    yield Question("samples, page 20", lambda s: _walk(s, None, 20))
    yield Question("rejected samples, first page", lambda s: science.samples_page(s, _first(), GENERATION, False))
    yield Question("a clustering, whole", lambda s: science.clustering(s, uuid_of("clustering")))


def _of_steps(size: Size) -> Iterator[Question]:
    yield Question("count the pairs of a version", lambda s: count_pairs(s, VERSION))
    yield Question("count a set's accepted samples", lambda s: generations.count_accepted(s, GENERATION, 1))
    yield Question("evaluate: 500 pairs of a walk", lambda s: pairs_after(s, VERSION.version_id, size.pairs // 2, 500))
    yield Question(
        "evaluate: 500 samples of a walk", lambda s: generations.accepted_after(s, GENERATION, 1, size.pairs // 2, 500)
    )
    yield Question("evaluate: draw 5,000 pairs", lambda s: drawn_pairs(s, VERSION, 5000, 1))
    yield Question("evaluate: draw 5,000 samples", lambda s: generations.drawn_samples(s, GENERATION, 1, 5000, 1))
    yield Question("all pairs of a version (every train, generate and segment job)", lambda s: pairs_of(s, VERSION))
    yield Question("all pairs of a split's part", lambda s: pairs_of(s, TRAINED))
    yield Question("a clustering's assignments", lambda s: s.get(Clustering, uuid_of("clustering")))
    yield Question("a generate job's finished samples", _samples_of_job)
    yield Question("store 64 samples", _store_samples)
    yield Question("close the generation: its sets become versions", _close)
    yield Question("gc: every digest that is named", lambda s: every_digest_named(s, _NoManifests()))  # type: ignore[arg-type]


class _NoManifests:
    """An object store without objects: the manifests that the loaded models name were never written."""

    def size_bytes(self, _digest: str) -> None:
        return None


def _first() -> PageRequest:
    return PageRequest(limit=200, cursor=None, of="bench")


def _walk(session: Session, accepted: bool | None, pages: int) -> None:
    asked = _first()
    for _ in range(pages):
        page = science.samples_page(session, asked, GENERATION, accepted)
        asked = PageRequest(limit=200, cursor=page.next_cursor, of="bench")
        if page.next_cursor is None:
            return


def _beat(session: Session) -> None:
    values = {"job_id": uuid_of("train"), "fence": 0, "peak_memory_bytes": 1}
    session.connection().connection.cursor().execute(BEAT, values)


def _models(session: Session) -> Any:
    return generations.models_of(session, session.get_one(Generation, GENERATION))


def _close_unfinished(session: Session) -> None:
    generations.close_generation_when_done(session, GENERATION, uuid_of("generate"))


def _close(session: Session) -> None:
    """As its last job does; the others have succeeded."""
    session.execute(text("UPDATE job SET status = 'succeeded' WHERE kind = 'generate'"))
    generations.close_generation_when_done(session, GENERATION, uuid_of("generate"))


def _samples_of_job(session: Session) -> Any:
    columns = select(Sample.source_pair_id, Sample.sample_index).where(Sample.job_id == uuid_of("generate"))
    return session.exec(columns).all()


def _store_samples(session: Session) -> None:
    rows = session.exec(select(Sample).order_by(col(Sample.id)).limit(64)).all()
    session.add_all(Sample(**row.model_dump(exclude={"id", "sample_index"}), sample_index=2) for row in rows)
    session.flush()
