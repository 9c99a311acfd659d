"""A planted copy is always found, in whatever guise; what is new is left alone, and what is flagged says why."""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segsmith_evaluator.memorisation import (
    LIKENESS_CAP,
    LIKENESS_FLOOR,
    CopyCheck,
    Pictures,
    check_copies,
    quantile_above,
    threshold_of,
)
from segsmith_evaluator.metrics.authenticity import authentic
from segsmith_evaluator.metrics.figures import share_figure
from segsmith_evaluator.metrics.likeness import alignments, brightness, match, structures
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.geometry import Geometry, to_model_arrays
from segsmith_shared.pairs.pair import Pair
from segsmith_shared.storage.pair_arrays import images_of, labels_of
from segsmith_shared.vision.features import BuiltInExtractor, Interrupted
from tests.fixtures.pair_folders import REAL_DATA, needs_real_data
from tests.unit.evaluator.report.drawn_report import grown

Array = NDArray[np.uint8]
EXTRACTOR = BuiltInExtractor()
TRAINING, NEW = 36, 40


@lru_cache
def drawn(first: int, count: int, side_px: int = 64) -> Pictures:
    pairs = [draw_pair(21, first + index, side_px) for index in range(count)]
    regions = [grown(label, round(20 * side_px / 256)) for _, label in pairs]
    return Pictures(np.stack([image for image, _ in pairs]), np.stack(regions))


KNOWN = drawn(0, TRAINING)
HELD_OUT = drawn(500, NEW)


def redrawn(sources: Pictures, other: Pictures) -> Pictures:
    """What an honest model leaves: the sources with something else in their regions."""
    return Pictures(np.where(sources.regions[..., None], other.images, sources.images), sources.regions)


def checked(samples: Pictures, sources: list[int]) -> CopyCheck:
    return check_copies(samples, np.array(sources), KNOWN, EXTRACTOR)


def jpeg(picture: Array) -> Array:
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=75)
    return np.asarray(Image.open(stream))


def shifted(picture: Array, down: int, right: int) -> Array:
    margins = ((2, 2), (2, 2), (0, 0))[: picture.ndim]
    height, width = picture.shape[:2]
    return np.pad(picture, margins, mode="edge")[2 - down : 2 - down + height, 2 - right : 2 - right + width]


GUISES: dict[str, Callable[[Array], Array]] = {
    "exact": lambda picture: picture,
    "JPEG": jpeg,
    "mirrored": lambda picture: picture[:, ::-1],
    "brighter": lambda picture: np.clip(picture * 1.08 + 6, 0, 255).astype(np.uint8),
    "darker": lambda picture: (picture * 0.9).astype(np.uint8),
    "shifted": lambda picture: shifted(picture, 1, -2),
    "all at once": lambda picture: jpeg((shifted(picture, -2, 1)[:, ::-1] * 0.92).astype(np.uint8)),
}


@pytest.mark.parametrize("guise", GUISES)
@pytest.mark.parametrize("side_px", [32, 64, 128])
def test_a_planted_copy_of_a_whole_picture_is_always_found(guise: str, side_px: int) -> None:
    known = drawn(0, 12, side_px)
    copies = np.stack([GUISES[guise](image) for image in known.images])
    sources = np.roll(np.arange(12), 1)  # made from another picture, so they say
    check = check_copies(Pictures(copies, known.regions), sources, known, EXTRACTOR)
    assert check.whole_copies.all()
    assert (check.whole.place == np.arange(12)).all()
    assert ("mirror" in guise or guise == "all at once") == all(way.mirrored for way in check.whole.alignments)


@pytest.mark.parametrize("guise", GUISES)
def test_a_region_copied_from_another_training_picture_is_found_in_a_background_of_its_own(guise: str) -> None:
    donors = np.roll(np.arange(TRAINING), 5)
    pasted = np.stack([GUISES[guise](KNOWN.images[donor]) for donor in donors])
    check = checked(redrawn(KNOWN, Pictures(pasted, KNOWN.regions)), list(range(TRAINING)))
    assert check.region_copies.all()
    assert (check.region.place == donors).all()
    assert not check.of_own_source.any()


def test_a_redraw_that_gives_the_source_back_is_a_copy_of_its_own_source_and_of_no_other() -> None:
    given_back = np.stack([jpeg(image) for image in KNOWN.images])
    check = checked(redrawn(KNOWN, Pictures(given_back, KNOWN.regions)), list(range(TRAINING)))
    assert check.of_own_source.all()
    assert not check.whole_copies.any()


def test_a_background_shared_with_the_source_is_no_copy() -> None:
    check = checked(redrawn(KNOWN, drawn(900, TRAINING)), list(range(TRAINING)))
    assert not check.near_copies.any()


def test_a_twin_of_the_source_among_the_training_pictures_makes_no_copy_of_a_shared_background() -> None:
    twins = Pictures(
        np.concatenate([KNOWN.images, np.roll(KNOWN.images[:1], 1, axis=1)]), KNOWN.regions[[*range(36), 0]]
    )
    samples = redrawn(Pictures(KNOWN.images[:1], KNOWN.regions[:1]), drawn(900, 1))
    check = check_copies(samples, np.array([0]), twins, EXTRACTOR)
    assert not check.near_copies.any()


def test_of_held_out_pictures_at_most_five_percent_are_flagged() -> None:
    check = checked(HELD_OUT, [-1] * NEW)
    assert check.near_copies.mean() <= 0.05
    assert check.false_alarms.value <= 0.05


def test_a_region_too_small_to_tell_is_not_compared_and_not_flagged() -> None:
    speck = np.zeros_like(KNOWN.regions)
    speck[:, 30:33, 30:33] = True
    check = checked(Pictures(KNOWN.images, speck), list(range(TRAINING)))
    assert check.regions_compared == 0
    assert not check.region_copies.any()


def test_near_duplicates_among_the_training_pictures_do_not_raise_the_threshold() -> None:
    twice = Pictures(np.concatenate([KNOWN.images] * 2), np.concatenate([KNOWN.regions] * 2))
    samples, nobody = Pictures(HELD_OUT.images[:4], HELD_OUT.regions[:4]), np.full(4, -1)
    known = check_copies(samples, nobody, twice, EXTRACTOR, groups=[*range(TRAINING)] * 2).limits.whole
    unknown = check_copies(samples, nobody, twice, EXTRACTOR).limits.whole
    assert known.training_quantile is not None
    assert known.training_quantile < LIKENESS_CAP
    assert unknown.training_quantile == pytest.approx(1, abs=1e-3)
    assert unknown.value == LIKENESS_CAP  # so that a copy is found even so


def test_the_threshold_follows_the_training_pictures_between_its_two_limits() -> None:
    alike = {likeness: np.full(99, likeness, np.float32) for likeness in (0.2, 0.8, 0.97)}
    assert threshold_of(alike[0.2]).value == LIKENESS_FLOOR
    assert threshold_of(alike[0.8]).value == pytest.approx(0.8)
    assert threshold_of(alike[0.97]).value == LIKENESS_CAP
    assert threshold_of(alike[0.2][:0]).training_quantile is None


def test_a_quantile_of_few_pictures_is_their_largest_and_of_many_leaves_out_its_share() -> None:
    values = np.arange(1, 1000, dtype=np.float32)
    assert quantile_above(values, 0.02) == 980
    assert quantile_above(values[:20], 0.02) == 20


def test_authenticity_is_what_a_plain_loop_finds() -> None:
    rng = np.random.default_rng(3)
    training, samples = rng.normal(size=(25, 6)), rng.normal(size=(40, 6)) * 0.8
    flags, places = authentic(samples.astype(np.float32), training.astype(np.float32))
    for sample, flag, place in zip(samples, flags, places, strict=True):
        distances = [float(np.linalg.norm(sample - known)) for known in training]
        nearest = min(range(25), key=distances.__getitem__)
        own = min(float(np.linalg.norm(training[nearest] - training[j])) for j in range(25) if j != nearest)
        assert (place, flag) == (nearest, distances[nearest] > own)
    assert 0 < flags.mean() < 1


def test_copies_are_not_authentic_and_halves_of_the_training_pictures_stand_beside_them_as_a_yardstick() -> None:
    check = checked(Pictures(KNOWN.images, KNOWN.regions), list(range(TRAINING)))
    assert check.authentic.samples.value == 0
    assert check.authentic_region is not None
    assert check.authentic_region.samples.value == 0
    assert check.authentic.real_halves is not None
    assert check.authentic.real_halves.value > 0.2
    assert check.authentic.real_halves.n == TRAINING // 2
    assert (check.nearest_features == np.arange(TRAINING)).all()


def test_likeness_is_what_a_plain_loop_over_alignments_finds() -> None:
    shapes = structures(brightness(KNOWN.images[:4])), structures(brightness(HELD_OUT.images[:3]))
    found = match(*shapes, KNOWN.regions[:4], shift_px=1)
    for template, region, row in zip(shapes[0], KNOWN.regions[:4], found.likeness, strict=True):
        for picture, likeness in zip(shapes[1], row, strict=True):
            tried = []
            for way in alignments(1):
                laid = np.pad(picture[:, ::-1] if way.mirrored else picture, 1, mode="edge")
                laid = laid[1 - way.down_px :, 1 - way.right_px :][:64, :64]
                tried.append(np.corrcoef(template[region], laid[region])[0, 1])
            assert likeness == pytest.approx(max(tried), abs=1e-3)


def test_a_share_has_wilsons_interval() -> None:
    figure = share_figure(np.array([True] * 5 + [False] * 95))
    assert figure.detail == {"count": 5}
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.05, 0.0215, 0.1118), abs=1e-4)
    assert share_figure(np.zeros(20, np.bool_)).high == pytest.approx(0.161, abs=1e-3)


def test_progress_names_each_stage_and_a_caller_can_stop() -> None:
    stages: list[str] = []
    few = Pictures(KNOWN.images[:6], KNOWN.regions[:6])
    none = np.full(6, -1)
    check_copies(few, none, few, EXTRACTOR, on_step=lambda stage, *_: stages.append(stage))
    assert {"samples, whole", "samples, region", "training pictures, region", "features of real pictures"} <= set(
        stages
    )
    with pytest.raises(Interrupted):
        check_copies(few, none, few, EXTRACTOR, on_step=lambda stage, *_: stage == "samples, region")


slow_and_on_real_data = [*needs_real_data, pytest.mark.slow]


class TestRealPolyps:
    """Kvasir at 64 px: the paper's 348 as training pictures, 200 others as pictures that nobody trained on."""

    pytestmark = slow_and_on_real_data

    def test_of_polyps_never_trained_on_at_most_five_percent_are_flagged(self) -> None:
        known, new = real_polyps("paper-348.txt"), real_polyps("test-200.txt")
        check = check_copies(new, np.full(200, -1), known, EXTRACTOR)
        assert check.near_copies.mean() <= 0.05

    def test_a_region_copied_from_another_polyp_is_always_found_in_whatever_guise(self) -> None:
        known = real_polyps("paper-348.txt")
        places = np.tile(np.arange(0, 348, 29), len(GUISES))
        donors = np.repeat(list(GUISES), 12), (places + 29) % 348
        pasted = np.stack([GUISES[guise](known.images[donor]) for guise, donor in zip(*donors, strict=True)])
        samples = redrawn(
            Pictures(known.images[places], known.regions[places]), Pictures(pasted, known.regions[places])
        )
        check = check_copies(samples, places, known, EXTRACTOR)
        assert check.region_copies.all()
        assert (check.region.place == donors[1]).all()


@lru_cache
def real_polyps(ids: str) -> Pictures:
    folder = REAL_DATA / "kvasir-seg"
    squares = []
    for name in (folder / ids).read_text().split():
        image = np.asarray(Image.open(folder / "images" / f"{name}.jpg").convert("RGB"))
        label = np.asarray(Image.open(folder / "masks" / f"{name}.jpg").convert("L")) >= 128
        squares.append(to_model_arrays(Pair(name, image, label.astype(np.uint8)), 64, Geometry.SQUASH))
    stacked = np.stack(squares)
    return Pictures(images_of(stacked), np.stack([grown(label, 5) for label in labels_of(stacked)]))
