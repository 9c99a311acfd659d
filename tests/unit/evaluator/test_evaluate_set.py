"""One set's figures: worse sets measure worse, everything carries n and interval, and stand-ins are named."""

import numpy as np
import pytest
from numpy.typing import NDArray

from segsmith_evaluator.metrics.evaluate_set import MetricOptions, SetMetrics, SetTooSmall, evaluate_set
from segsmith_evaluator.metrics.figures import mean_figure
from segsmith_evaluator.metrics.kid import kid
from segsmith_evaluator.metrics.published import PUBLISHED
from segsmith_evaluator.metrics.real_halves import divisions, matched_figures
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.vision.features import BuiltInExtractor, Interrupted

Images = NDArray[np.uint8]
Labels = NDArray[np.bool_]

QUICK = MetricOptions(ms_ssim_pairs=8, bootstrap_samples=20, kid_subsets=10)
EXTRACTOR = BuiltInExtractor()


def drawn(first: int, count: int) -> tuple[Images, Labels]:
    pairs = [draw_pair(9, first + index, 32) for index in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


def measured(synthetic: Images, labels: Labels | None = None) -> SetMetrics:
    real, real_labels = drawn(0, 24)
    return evaluate_set(
        real,
        synthetic,
        EXTRACTOR,
        seed=0,
        real_regions=None if labels is None else real_labels,
        synthetic_regions=labels,
        options=QUICK,
    )


def test_more_of_the_same_kind_is_nearer_than_another_kind() -> None:
    same, _ = drawn(100, 24)
    like, unlike = measured(same), measured(255 - same)
    assert like.fid.value < unlike.fid.value / 2
    assert like.kid.value < unlike.kid.value / 2


def test_a_lesion_repainted_grey_shows_in_the_region_where_the_picture_hides_it() -> None:
    images, labels = drawn(0, 24)
    repainted = np.where(labels[..., None], 128, images).astype(np.uint8)
    metrics = measured(repainted, labels)
    assert metrics.region_fid is not None
    assert metrics.region_kid is not None
    assert metrics.region_fid.value > 2 * metrics.fid.value


def test_every_figure_has_its_n_and_interval_and_survives_json() -> None:
    images, labels = drawn(100, 20)
    metrics = measured(images, labels)
    assert SetMetrics.model_validate_json(metrics.model_dump_json()) == metrics
    assert metrics == measured(images, labels)
    assert (metrics.n_real, metrics.n_synthetic, metrics.fid.n) == (24, 20, 20)
    matched = (metrics.real_halves_fid, metrics.matched_fid, metrics.real_halves_kid, metrics.matched_kid)
    assert [figure.n for figure in matched if figure] == [12] * 4
    for figure in (metrics.fid, metrics.kid, metrics.ms_ssim_real, metrics.region_fid, metrics.region_kid, *matched):
        assert figure is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high


def test_the_notes_tell_of_the_stand_in_the_rank_the_enlargement_and_the_halves() -> None:
    notes = " ".join(measured(drawn(100, 20)[0]).notes)
    for told in ("stand-in", "n = 20", "enlarged", "12 real pictures against 12 others"):
        assert told in notes


def test_progress_names_each_stage_and_a_caller_can_stop_at_any() -> None:
    stages: list[str] = []
    real, _ = drawn(0, 8)

    def note(stage: str, done: int, total: int) -> None:
        assert 1 <= done <= total
        stages.append(stage)

    evaluate_set(real, real, EXTRACTOR, seed=0, options=QUICK, on_step=note)
    assert {"features of real pictures", "FID", "KID", "MS-SSIM of synthetic pictures", "FID of halves"} <= set(stages)
    with pytest.raises(Interrupted):
        evaluate_set(real, real, EXTRACTOR, seed=0, options=QUICK, on_step=lambda stage, *_: stage == "KID")


def test_new_pictures_of_the_same_kind_lie_from_a_half_as_the_other_half_does_and_another_kind_does_not() -> None:
    same, _ = drawn(100, 24)
    like, unlike = measured(same), measured(255 - same)
    for metrics, alike in ((like, True), (unlike, False)):
        for halves, matched in (
            (metrics.real_halves_fid, metrics.matched_fid),
            (metrics.real_halves_kid, metrics.matched_kid),
        ):
            assert halves is not None
            assert halves.low is not None
            assert halves.high is not None
            assert matched is not None
            assert (halves.low <= matched.value <= halves.high) == alike


def test_halves_have_the_same_n_on_all_sides_and_keep_near_duplicates_together() -> None:
    groups = [0] * 6 + [1] * 4 + [None] * 11
    for repeat in divisions(21, 9, groups, seed=3):
        assert len(repeat.real) == len(repeat.other_real) == len(repeat.synthetic) == 9
        assert not set(repeat.real.tolist()) & set(repeat.other_real.tolist())
        for group in (0, 1):
            members = {place for place in range(21) if groups[place] == group}
            assert not (members & set(repeat.real.tolist()) and members & set(repeat.other_real.tolist()))
    drawn_halves = [tuple(sorted(repeat.real.tolist())) for repeat in divisions(21, 9, groups, seed=3)]
    assert len(set(drawn_halves)) > 10  # another division each time


@pytest.mark.parametrize(("n_real", "n_synthetic", "compared"), [(8, 4, True), (7, 9, False), (30, 3, False)])
def test_halves_of_fewer_pictures_than_kid_needs_are_not_compared(
    n_real: int, n_synthetic: int, compared: bool
) -> None:
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    found = matched_figures(features[:n_real], features[-n_synthetic:], kid, groups=None, seed=0, repeats=2)
    assert (found is not None) == compared


def test_a_set_of_copies_lies_nearer_to_the_real_pictures_than_they_lie_to_each_other() -> None:
    real, _ = drawn(0, 24)
    metrics = measured(real)
    assert metrics.matched_fid is not None
    assert metrics.real_halves_fid is not None
    assert metrics.matched_fid.value < metrics.real_halves_fid.value  # why it is no bound


def test_three_pictures_are_a_problem_that_says_so() -> None:
    with pytest.raises(SetTooSmall, match="3 synthetic"):
        measured(drawn(0, 3)[0])


def test_a_mean_has_an_interval_that_repeats_and_covers() -> None:
    figure = mean_figure(np.random.default_rng(0).normal(2, 1, size=100), seed=0)
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    assert figure.high - figure.low == pytest.approx(2 * 1.96 / 10, rel=0.3)
    assert figure == mean_figure(np.random.default_rng(0).normal(2, 1, size=100), seed=0)
    assert mean_figure(np.ones(5), seed=0).low is None


def test_no_published_figure_stands_twice() -> None:
    assert len({(row.metric, row.set) for row in PUBLISHED}) == len(PUBLISHED)
