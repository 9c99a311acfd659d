"""The report job over real Postgres and S3: from the rows that a pipeline left to the files that a person opens."""

import io
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, col, select

from segsmith_evaluator.report.facts import Facts
from segsmith_evaluator.steps.report import run
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import (
    Artifact,
    Clustering,
    Dataset,
    DatasetVersion,
    Evaluation,
    Generation,
    Job,
    JobStatus,
    Model,
    Pair,
    Pipeline,
    Sample,
    SegmentationRun,
    SetJudgement,
    Split,
)
from segsmith_shared.jobs import states
from segsmith_shared.jobs.context import Finished, StepContext, Stopped, StopReason
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.import_report import Counts, ImportReport
from segsmith_shared.pairs.png_files import png_bytes, stored_label_bytes
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import NamedPart, PartRef, PipelineSpec
from segsmith_shared.problems import NotFound
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore
from tests.unit.evaluator.report.drawn_report import drawn_judgement, drawn_metrics, grown

SIDE_PX = 32
SOURCES, TESTS = 6, 2


class Left:
    """What a pipeline left behind, written row by row; a test leaves out what should be missing."""

    def __init__(self, engine: Engine, objects: ObjectStore, class_names: Sequence[str] = ()) -> None:
        self.engine = engine
        self.objects = objects
        self.preset = preset_named("tiny-cpu").model_dump(mode="json")
        self.classes = classes_of(class_names)
        self.dataset = Dataset(name="polyps & <friends>")
        self.version = DatasetVersion(
            dataset_id=self.dataset.id,
            number=1,
            pair_count=SOURCES + TESTS,
            digest="aa" * 32,
            class_names=list(class_names),
            report=ImportReport(
                layout="images-masks", layout_because="of its folders", counts=Counts(files=16, accepted=8)
            ).model_dump(mode="json"),
        )
        self.pairs = [self._pair(index) for index in range(SOURCES + TESTS)]
        self.split = Split(
            version_id=self.version.id,
            name="halves",
            parts={
                "train": [str(pair.id) for pair in self.pairs[:SOURCES]],
                "test": [str(pair.id) for pair in self.pairs[SOURCES:]],
            },
        )
        spec = PipelineSpec(
            name="trial",
            pairs=self._part("train"),
            tests=(NamedPart(name="held-out", pairs=self._part("test")),),
            seed=5,
        )
        self.pipeline = Pipeline(name="trial", spec=spec.model_dump(mode="json"), plan={"jobs": [], "cost": []})
        self.store(self.dataset)
        self.store(self.version)
        self.store(*self.pairs, self.split)
        self.store(self.pipeline)

    def store(self, *rows: SQLModel) -> None:
        with session_scope(self.engine) as session:
            session.add_all(rows)

    def job(self, kind: str, status: str = JobStatus.SUCCEEDED, **fields: Any) -> Job:
        figures = {"run_seconds": 10.0, "peak_memory_bytes": 2**28, "queue": "gpu", "name": f"{kind} it", **fields}
        job = Job(pipeline_id=self.pipeline.id, kind=kind, status=status, **figures)
        self.store(job)
        return job

    def report_job(self) -> Job:
        return self.job("report", JobStatus.QUEUED, queue="cpu", spec={"pipeline_id": str(self.pipeline.id)})

    def clusters(self) -> Clustering:
        job = self.job("cluster")
        clustering = Clustering(
            version_id=self.version.id,
            job_id=job.id,
            cluster_count=2,
            method="k-means",
            extractor={"name": "built-in", "digest": "bb" * 32, "dimension": 8, "stand_in": True},
            assignments={str(pair.id): index % 2 for index, pair in enumerate(self.pairs[:SOURCES])},
            report={"requested_clusters": 2, "merges": [], "silhouettes": {"2": 0.2, "3": 0.1}, "library_versions": {}},
        )
        self.store(clustering)
        return clustering

    def models(self, clustering: Clustering) -> list[Model]:
        models = [
            Model(
                job_id=self.job("train").id,
                recipe="Diff",
                clustering_id=clustering.id,
                cluster=index,
                preset=self.preset,
                images_seen=320,
                training_images=3,
                weights="ema",
                checkpoint_digest="cc" * 32,
                curve={"images_seen": [160, 320], "loss": [0.9, 0.4]},
            )
            for index in range(2)
        ]
        self.store(*models)
        return models

    def set(self, models: Sequence[Model]) -> Generation:
        """Diff-sample-1: five of six samples accepted, the last without a lesion."""
        job = self.job("generate")
        generation = Generation(
            pipeline_id=self.pipeline.id,
            recipe="Diff",
            source_version_id=self.version.id,
            dataset_id=self.dataset.id,
            spec={"preset": self.with_one_sample(), "source_limit": None},
        )
        self.store(generation)
        samples = [self._sample(job, generation, models[index % 2], index) for index in range(SOURCES)]
        self.store(*samples)
        return generation

    def with_one_sample(self) -> dict[str, Any]:
        return {**self.preset, "sampling": {**self.preset["sampling"], "samples_per_source": 1}}

    def metrics(self) -> None:
        self.store(
            Evaluation(
                job_id=self.job("evaluate", queue="cpu").id,
                real_version_id=self.version.id,
                synthetic_version_id=self.version.id,
                label="Diff-sample-1",
                metrics=drawn_metrics().model_dump(mode="json"),
            )
        )

    def judgement(self) -> None:
        job = self.job("gate")
        picture = png_bytes(draw_pair(1, 0, SIDE_PX)[0])
        digest = self.objects.put_bytes(picture)
        name, size_bytes = "agreement-Diff-sample-1.png", len(picture)
        sheet = Artifact(job_id=job.id, name=name, media_type="image/png", digest=digest, size_bytes=size_bytes)
        self.store(
            sheet,
            SetJudgement(
                job_id=job.id,
                synthetic_version_id=self.version.id,
                label="Diff-sample-1",
                findings=drawn_judgement().model_dump(mode="json"),
            ),
        )

    def study(self, **further: float) -> None:
        """Three arms of three seeds, with `further` scores of each."""
        for place, arm in enumerate(("real", "synthetic", "real + synthetic")):
            for seed in range(3):
                self.store(
                    SegmentationRun(
                        job_id=self.job("segment").id,
                        pipeline_id=self.pipeline.id,
                        arm=arm,
                        seed=2**62 + seed,
                        parameters={"steps": 160, "training_pairs": 6 + place, "encoder": "tiny"},
                        scores={"held-out": {"iou": 0.5 + 0.1 * place + 0.01 * seed, "dice": 0.6, **further}},
                        checkpoint_digest="dd" * 32,
                    )
                )

    def _part(self, part: str) -> PartRef:
        return PartRef(version_id=self.version.id, split_id=self.split.id, part=part)

    def _pair(self, index: int) -> Pair:
        image, label = draw_pair(1, index, SIDE_PX)
        thumbnail = self._stored(image, "JPEG")
        return Pair(
            version_id=self.version.id,
            position=index,
            name=f"case {index}",
            image_digest=self._stored(image),
            label_digest=self._stored(label),
            thumbnail_digest=thumbnail,
            overlay_digest=thumbnail,
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            lesion_fraction=float(label.mean()),
            lesion_count=1,
        )

    def _sample(self, job: Job, generation: Generation, model: Model, index: int) -> Sample:
        source, source_lesion = draw_pair(1, index, SIDE_PX)
        image, lesion = draw_pair(1, index + 100, SIDE_PX)
        source_label, label = (each * np.uint8(1 + index % self.classes) for each in (source_lesion, lesion))
        accepted = index < SOURCES - 1
        return Sample(
            generation_id=generation.id,
            job_id=job.id,
            source_pair_id=self.pairs[index].id,
            model_id=model.id,
            cluster=model.cluster,
            sample_index=1,
            seed=index,
            accepted=accepted,
            rejection_reason=None if accepted else "empty_label",
            image_digest=self._stored(image),
            label_digest=self._stored_label(label if accepted else np.zeros_like(label)),
            region_digest=self._stored(grown(source_lesion, 3)),
            thumbnail_digest=self.pairs[index].thumbnail_digest,
            overlay_digest=self.pairs[index].overlay_digest,
            source_digest=self._stored(source),
            source_label_digest=self._stored_label(source_label),
            evaluations=20,
            lesion_fraction=float(lesion.mean()),
            lesion_count=1,
            provenance={"code_version": "0.1.0+abc"},
        )

    def _stored_label(self, label: NDArray[np.uint8]) -> str:
        return self.objects.put_bytes(stored_label_bytes(label, self.classes))

    def _stored(self, pixels: NDArray[Any], kind: str = "PNG") -> str:
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(buffer, kind)
        return self.objects.put_bytes(buffer.getvalue())


@pytest.fixture
def left(engine: Engine, object_store: ObjectStore) -> Left:
    return Left(engine, object_store)


def reported(left: Left, settings: Settings) -> dict[str, bytes]:
    """Run the report job as its worker would; the files it left, by name."""
    job = left.report_job()
    with session_scope(left.engine) as session:
        claim = states.claim(session, "cpu", "test")
    assert claim is not None
    outcome = run(StepContext(claim, settings, left.engine, lambda: None))
    assert isinstance(outcome, Finished)
    with session_scope(left.engine) as session:
        assert states.write_outcome(session, claim, outcome) == JobStatus.SUCCEEDED
        return artifacts(session, job.id, left.objects)


def artifacts(session: Session, job_id: UUID, objects: ObjectStore) -> dict[str, bytes]:
    found = session.exec(select(Artifact).where(col(Artifact.job_id) == job_id)).all()
    files = {artifact.name: objects.get_bytes(artifact.digest) for artifact in found}
    assert all(artifact.size_bytes == len(files[artifact.name]) for artifact in found)
    return files


def test_a_whole_pipeline_becomes_a_page_a_sheet_and_its_figures(left: Left, settings: Settings) -> None:
    models = left.models(left.clusters())
    left.set(models)
    left.metrics()
    left.study()
    files = reported(left, settings)
    assert set(files) == {"report.html", "report.json", "sheet-Diff-sample-1.png"}
    page = files["report.html"].decode()
    assert "polyps &amp; &lt;friends&gt;" in page
    assert "8 pairs accepted" in page
    assert page.count('<figure class="triple">') == SOURCES
    assert Image.open(io.BytesIO(files["sheet-Diff-sample-1.png"])).width > 6 * 150

    facts = Facts.model_validate_json(files["report.json"])
    (made,) = facts.sets
    assert (made.attempted, made.accepted, made.rejected) == (6, 5, {"empty_label": 1})
    assert made.code_versions == ("0.1.0+abc",)
    assert made.labels is not None
    assert made.labels.n == 5
    assert made.labels.fit is None  # these pairs do not bear the names of drawn ones
    assert [cluster.size for cluster in facts.clusterings[0].clusters] == [3, 3]
    assert facts.training.n == SOURCES
    assert facts.segmentation is not None
    mixed = facts.segmentation.difference("real + synthetic", "held-out", "iou")
    assert mixed is not None
    assert mixed.estimate.value == pytest.approx(0.2)
    assert mixed.estimate.n == 3


def test_a_run_on_two_classes_names_outlines_and_measures_each(
    engine: Engine, object_store: ObjectStore, settings: Settings
) -> None:
    plain, left = Left(engine, object_store), Left(engine, object_store, ("polyp", "scar"))
    for each in (plain, left):
        each.set(each.models(each.clusters()))
    left.study(**{"iou[polyp]": 0.7, "dice[polyp]": 0.8, "iou[scar]": 0.3, "iou[no such class]": 0.9})
    files = reported(left, settings)
    page = files["report.html"].decode()
    assert "--label: #fff040" in page
    assert "Class by class." in page
    facts = Facts.model_validate_json(files["report.json"])
    assert facts.training.class_names == ("polyp", "scar")
    assert facts.sets[0].labels == Facts.model_validate_json(reported(plain, settings)["report.json"]).sets[0].labels
    study = facts.segmentation
    assert study is not None
    assert (study.class_names, study.metrics) == (("polyp", "scar"), ("dice", "iou"))
    assert {score.metric for score in study.scores} == {"dice", "iou", "iou[polyp]", "dice[polyp]", "iou[scar]"}
    scar = study.score("real", "held-out", "iou[scar]")
    assert scar is not None
    assert scar.estimate.value == pytest.approx(0.3)


def test_what_the_quality_gate_found_is_told_and_its_sheet_lies_beside_the_page(left: Left, settings: Settings) -> None:
    left.set(left.models(left.clusters()))
    left.judgement()
    files = reported(left, settings)
    assert set(files) == {"report.html", "report.json", "sheet-Diff-sample-1.png", "agreement-Diff-sample-1.png"}
    page = files["report.html"].decode()
    assert "4 samples of 86 dropped" in page
    assert page.count("data:image/jpeg") > 0
    (found,) = Facts.model_validate_json(files["report.json"]).judgements
    assert found.judgement == drawn_judgement()


def test_a_pipeline_that_broke_early_is_reported_as_far_as_it_came(left: Left, settings: Settings) -> None:
    left.clusters()
    problem = {"title": "Not enough memory", "detail": "The child was killed.", "hint": "Choose a smaller batch."}
    left.job("train", JobStatus.FAILED, problem=problem)
    left.job("generate", JobStatus.CANCELLED)
    files = reported(left, settings)
    assert set(files) == {"report.html", "report.json"}
    page = files["report.html"].decode()
    assert all(text in page for text in problem.values())
    assert "2 jobs did not succeed" in page
    assert json.loads(files["report.json"])["segmentation"] is None


def test_two_reports_of_one_pipeline_show_the_same_samples(left: Left, settings: Settings) -> None:
    left.set(left.models(left.clusters()))
    assert reported(left, settings)["sheet-Diff-sample-1.png"] == reported(left, settings)["sheet-Diff-sample-1.png"]


def test_a_stopped_report_leaves_nothing(left: Left, settings: Settings) -> None:
    left.set(left.models(left.clusters()))
    left.report_job()
    with session_scope(left.engine) as session:
        claim = states.claim(session, "cpu", "test")
    assert claim is not None
    assert isinstance(run(StepContext(claim, settings, left.engine, lambda: StopReason.CANCEL)), Stopped)


def test_a_pipeline_that_is_gone_is_named(left: Left, settings: Settings) -> None:
    gone = UUID(int=1)
    left.job("report", JobStatus.QUEUED, queue="cpu", spec={"pipeline_id": str(gone)})
    with session_scope(left.engine) as session:
        claim = states.claim(session, "cpu", "test")
    assert claim is not None
    with pytest.raises(NotFound, match=str(gone)):
        run(StepContext(claim, settings, left.engine, lambda: None))
