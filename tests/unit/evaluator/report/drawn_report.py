"""A whole report's facts and pictures, made of drawn pairs: what the report's tests render."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segsmith_evaluator.metrics.copies import Authenticity, ClosePair, Memorisation, Threshold
from segsmith_evaluator.metrics.evaluate_set import SetMetrics
from segsmith_evaluator.metrics.figures import share_figure
from segsmith_evaluator.report.facts import (
    ArmFacts,
    BudgetFacts,
    ClusterFacts,
    ClusteringFacts,
    DifferenceFacts,
    Estimate,
    EvaluationFacts,
    ExtractorFacts,
    Facts,
    JobFacts,
    JudgementFacts,
    LabelFacts,
    MergeFacts,
    ModelFacts,
    PartFacts,
    PipelineFacts,
    ScoreFacts,
    SegmentationFacts,
    SetFacts,
)
from segsmith_evaluator.report.pictures import ClusterPictures, Pictures, SampleGroup, SetPictures
from segsmith_evaluator.report.sheets import jpeg_bytes
from segsmith_shared.pairs.agreement import Judgement, PairAgreement, threshold_of
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import preset_named

_NAMES = UUID(int=7)
_ARMS = ("real", "synthetic", "real + synthetic")


def drawn_id(name: str) -> UUID:
    return uuid5(_NAMES, name)


def drawn_group(index: int, side_px: int = 48, rejection: str | None = None) -> SampleGroup:
    """A drawn pair as the source; as the sample the same scene with another lesion pasted into the region."""
    source, source_label = draw_pair(3, index, side_px)
    other, other_label = draw_pair(3, index + 500, side_px)
    region = grown(source_label, max(3, side_px // 12))
    sample = np.where(region[..., None], other, source)
    return SampleGroup(
        source=source,
        source_label=source_label,
        redraw_region=region,
        sample=sample,
        sample_label=np.zeros_like(region) if rejection else other_label & region,
        caption=f"drawn-{index:04d} · model of cluster {index % 2 + 1}",
        rejection=rejection,
    )


def grown(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    picture = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * by_px + 1))
    return np.asarray(picture) > 0


def drawn_pictures(groups: int = 12, side_px: int = 48) -> Pictures:
    accepted = tuple(drawn_group(index, side_px) for index in range(groups))
    rejected = (drawn_group(90, side_px, "empty_label"),)
    thumbnails = tuple(jpeg_bytes(Image.fromarray(draw_pair(3, index, 96)[0]), 85) for index in range(9))
    clusters = tuple(ClusterPictures(index, thumbnails) for index in range(2))
    sheet = jpeg_bytes(Image.new("RGB", (40, 30)), 85)
    sheets = {"Diff-sample-1": sheet}
    sets = (SetPictures("Diff-sample-1", accepted, rejected),)
    return Pictures(sets, (clusters,), copy_sheets=sheets, agreement_sheets=sheets)


def drawn_metrics(fid: float = 31.4, *, stand_in: bool = True) -> SetMetrics:
    def figure(value: float, half: float, n: int = 90) -> dict[str, Any]:
        return {"value": value, "low": value - half, "high": value + half, "n": n}

    return SetMetrics.model_validate(
        {
            "extractor": "built-in-384" if stand_in else "fid-inception",
            "extractor_digest": "ab" * 32,
            "stand_in": stand_in,
            "n_real": 90,
            "n_synthetic": 86,
            "fid": figure(fid, 3.1),
            "kid": figure(0.0121, 0.004),
            "ms_ssim_real": figure(0.181, 0.006),
            "ms_ssim_synthetic": figure(0.203, 0.006),
            "region_fid": figure(2 * fid, 6.0),
            "region_kid": figure(0.022, 0.006),
            "real_halves_fid": figure(0.8 * fid, 2.6, 45),
            "matched_fid": figure(1.1 * fid, 2.9, 45),
            "real_halves_kid": figure(0.004, 0.003, 45),
            "matched_kid": figure(0.0131, 0.005, 45),
            "memorisation": drawn_findings(stand_in=stand_in).model_dump(),
            "notes": ["n = 90 is less than the 384 dimensions of the features: the covariance is rank-deficient."],
        }
    )


def drawn_findings(*, stand_in: bool = True, dropped: bool = False) -> Memorisation:
    """A copy check that found two near-copies, one of its own source and one of another picture, mirrored."""
    pair = ClosePair(
        sample="drawn-0007~1",
        training="drawn-0007",
        comparison="region",
        likeness=0.96,
        threshold=0.75,
        near_copy=True,
        of_own_source=True,
        mirrored=False,
        down_px=0,
        right_px=1,
        nearest_features="drawn-0007",
    )
    changes = {"training": "drawn-0031", "of_own_source": False, "mirrored": True, "likeness": 0.91}
    flagged = (pair, pair.model_copy(update=changes))
    threshold = Threshold(value=0.75, training_quantile=0.71, n_training=90)
    two, one, none = (share_figure(np.arange(86) < count) for count in (2, 1, 0))
    return Memorisation(
        n=86,
        regions_compared=86,
        compared_side_px=64,
        shift_px=3,
        stand_in=stand_in,
        calibration="Each threshold is what 98 % of real pictures stay under.",
        whole_threshold=threshold,
        region_threshold=threshold,
        near_copies=two,
        copies_of_own_source=one,
        copies_of_others=one,
        false_alarms=none,
        authentic=Authenticity(samples=one),
        authentic_region=Authenticity(samples=two, real_halves=one),
        flagged=flagged,
        closest=flagged,
        sheet="closest-Diff-sample-1.png",
        dropped=dropped,
        notes=("What a sample shares with its own source outside the redrawn region is not counted.",),
    )


def drawn_judgement(*, quantile: float | None = 0.05, stand_in: bool = True) -> Judgement:
    """Ninety real pairs and 86 samples before two judges; four samples have a label that does not fit."""

    def pair(name: str, fold: int, dice: float) -> PairAgreement:
        return PairAgreement(name=name, fold=fold, dice=dice, iou=dice / (2 - dice))

    real = [pair(f"drawn-{place:04}", place % 2, 0.75 + 0.24 * place / 89) for place in range(90)]
    fitting = [pair(f"drawn-{place:04}~1", place % 2, 0.78 + 0.2 * place / 85) for place in range(4, 86)]
    misfits = [pair(f"drawn-{place:04}~1", place % 2, 0.05 * place) for place in range(4)]
    return Judgement(
        samples=(*misfits, *fitting),
        real=tuple(real),
        folds=2,
        preset="tiny-cpu",
        side_px=48,
        stand_in=stand_in,
        quantile=quantile,
        threshold=None if quantile is None else threshold_of([each.dice for each in real], quantile),
        sheet="agreement-Diff-sample-1.png",
        notes=("Agreement says that a label lies where a model of real pairs would put it.",),
    )


def drawn_facts(**changes: Any) -> Facts:
    """The facts of a finished demo run; `changes` replace whole fields."""
    facts = Facts(
        pipeline=_pipeline(),
        parts=(
            _part("training pairs", "training", "train", 90),
            _part("validation pairs", "validation", "validation", 22),
            _part("held-out", "test", "test", 30),
        ),
        sets=(_set(),),
        clusterings=(_clustering(),),
        models=tuple(_model(index) for index in range(2)),
        budgets=(
            BudgetFacts(recipe="Diff", strategy="per_cluster", networks=2, images_seen=19_200, images_planned=19_200),
        ),
        evaluations=(EvaluationFacts(label="Diff-sample-1", metrics=drawn_metrics()),),
        judgements=(JudgementFacts(label="Diff-sample-1", judgement=drawn_judgement()),),
        segmentation=drawn_study(),
        jobs=_jobs(),
        code_version="0.1.0",
        libraries={"torch": "2.14.1", "numpy": "2.4.0"},
    )
    return facts.model_copy(update=changes)


def _pipeline() -> PipelineFacts:
    return PipelineFacts(
        id=drawn_id("pipeline"),
        name="demo",
        created_at=datetime(2026, 11, 23, 20, 0, tzinfo=UTC),
        reported_at=datetime(2026, 11, 23, 20, 6, tzinfo=UTC),
        seed=7,
        preset="tiny-cpu",
        spec={"name": "demo", "preset": "tiny-cpu", "seed": 7},
        plan={"jobs": [], "cost": [{"what": "Diff: all samples", "amount": 1800, "unit": "U-Net evaluations"}]},
    )


def _part(name: str, role: Any, part: str, n: int) -> PartFacts:
    return PartFacts(
        name=name,
        role=role,
        dataset="drawn",
        version_id=drawn_id("version"),
        version_number=1,
        version_label="",
        origin="real",
        drawn=True,
        digest="c0" * 32,
        part=part,
        n=n,
        import_words="120 pairs were accepted.\nLayout: images/ and masks/ with equal stems.\n1 near-duplicate.",
    )


def _set() -> SetFacts:
    return SetFacts(
        label="Diff-sample-1",
        recipe="Diff",
        sample_index=1,
        generation_id=drawn_id("generation"),
        version_id=drawn_id("set"),
        requested=90,
        attempted=90,
        accepted=86,
        rejected={"empty_label": 3, "label_outside_region": 1},
        evaluations=1800,
        sampling=preset_named("tiny-cpu").sampling.model_dump(mode="json"),
        labels=LabelFacts(n=86, iou_with_source=0.66, area_ratio=0.94, area_ratio_deviation=0.28, fit=0.86),
        code_versions=("0.1.0",),
    )


def _clustering() -> ClusteringFacts:
    return ClusteringFacts(
        id=drawn_id("clustering"),
        method="k-means",
        requested=3,
        extractor=ExtractorFacts(name="built-in-384", digest="ab" * 32, stand_in=True),
        clusters=(ClusterFacts(index=0, size=57), ClusterFacts(index=1, size=33)),
        merges=(MergeFacts(cluster=2, into=1, size=3),),
        silhouettes={2: 0.21, 3: 0.17, 4: 0.15, 6: 0.11},
        libraries={"scikit-learn": "1.8.0"},
    )


def _model(cluster: int) -> ModelFacts:
    images_seen = np.arange(16, 9601, 16)
    noise = np.random.Generator(np.random.PCG64(cluster)).gamma(6, 1 / 6, len(images_seen))
    loss = (0.05 + 0.9 * np.exp(-images_seen / 700)) * noise
    return ModelFacts(
        id=drawn_id(f"model {cluster}"),
        recipe="Diff",
        cluster=cluster,
        preset=preset_named("tiny-cpu").model_dump(mode="json"),
        images_seen=9600,
        training_images=57 - 24 * cluster,
        weights="ema",
        checkpoint_digest="d1" * 32,
        curve_images_seen=tuple(images_seen.tolist()),
        curve_loss=tuple(loss.tolist()),
        run_seconds=61.3 + cluster,
        peak_memory_bytes=612 * 2**20,
    )


def drawn_study(seeds: int = 3, gain: float = 0.04) -> SegmentationFacts:
    """Three arms on one test set; the mixed arm is better than the real one by about `gain` at every seed."""
    bases = {"real": 0.71, "synthetic": 0.66, "real + synthetic": 0.71 + gain}
    values = {
        (arm, metric): {s: base + 0.01 * s + 0.08 * (metric == "dice") for s in range(seeds)}
        for arm, base in bases.items()
        for metric in ("dice", "iou")
    }
    scores = [
        ScoreFacts(arm=a, test="held-out", metric=m, seeds=v, estimate=Estimate.of_mean(list(v.values())))
        for (a, m), v in values.items()
    ]
    differences = [
        DifferenceFacts(
            arm=arm,
            reference="real",
            test="held-out",
            metric="iou",
            estimate=Estimate.of_mean([bases[arm] - bases["real"] + 0.004 * s for s in range(seeds)]),
        )
        for arm in _ARMS[1:]
    ]
    return SegmentationFacts(
        arms=tuple(
            ArmFacts(
                name=arm,
                real="real" in arm,
                real_pairs=90,
                reference=None if arm == "real" else "real",
                sets=("Diff-1",) if "syn" in arm else (),
                training_pairs=n,
                steps=160,
                seeds=tuple(range(seeds)),
                requested_seeds=3,
            )
            for arm, n in zip(_ARMS, (90, 86, 176), strict=True)
        ),
        tests=("held-out",),
        metrics=("dice", "iou"),
        scores=tuple(scores),
        differences=tuple(differences),
        parameters={"encoder": "tu-mobilenetv3_small_050", "encoder_weights": None, "side_px": 48, "steps": 160},
    )


def drawn_job(kind: str, name: str, status: str = "succeeded", problem: dict[str, Any] | None = None) -> JobFacts:
    return JobFacts(
        id=drawn_id(f"job {name}"),
        kind=kind,
        name=name,
        status=status,
        run_seconds=12.5,
        peak_memory_bytes=512 * 2**20,
        progress_done=90,
        progress_total=90,
        progress_unit="pairs",
        spec={},
        problem=problem,
    )


def _jobs() -> tuple[JobFacts, ...]:
    names = {
        "cluster": ["cluster"],
        "train": ["train Diff, cluster 1 of 2", "train Diff, cluster 2 of 2"],
        "generate": ["generate Diff"],
        "evaluate": ["evaluate Diff-sample-1"],
        "segment": [f"segment {arm}, seed {seed}" for arm in _ARMS for seed in range(3)],
    }
    return tuple(drawn_job(kind, name) for kind, of_kind in names.items() for name in of_kind)
