"""Arms feed what they say: split by source, nested subsets, and the three published ways of mixing."""

from collections import Counter

import numpy as np
import pytest

from segsmith_worker.segmentation.arms import (
    Pairs,
    Policy,
    SegmentationData,
    TooFewSources,
    arm_rows,
    prepare_arm,
    split_by_source,
)
from segsmith_worker.segmentation.training import row_at

SOURCES = [f"s{number:03}" for number in range(50)]


def pairs(sources: list[str], shade: int) -> Pairs:
    images = np.full((len(sources), 8, 8, 3), shade, dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(sources))
    return Pairs(images, (images[..., 0] > 0).astype(np.uint8), sources, [f"{shade}/{source}" for source in sources])


def arm(policy: Policy = "pool", *, use_real: bool = True, limit: int | None = None, seed: int = 0) -> SegmentationData:
    return prepare_arm(
        pairs(SOURCES, 0),
        [pairs(SOURCES[5:], 100), pairs(SOURCES[5:], 200)],
        use_real=use_real,
        real_limit=limit,
        policy=policy,
        validation_fraction=0.2,
        seed=seed,
    )[0]


def shades(data: SegmentationData, accesses: int) -> Counter[int]:
    return Counter(int(data.images[row_at(position, data, 0)][4, 4, 0]) for position in range(accesses))


def test_no_source_trains_and_validates() -> None:
    rows = arm_rows(SOURCES, [SOURCES, SOURCES], use_real=True, limit=None, seed=0)
    training, validation = split_by_source(rows, 0.2, 0)
    held_out = {row.source for row in validation}
    assert len(held_out) == 10
    assert not held_out & {row.source for row in training}
    assert len(training) == 3 * 40
    assert len(validation) == 3 * 10


def test_a_synthetic_arm_holds_no_real_pair() -> None:
    data = arm(use_real=False)
    assert set(shades(data, 500)) == {100, 200}
    assert set(data.validation_images[:, 4, 4, 0].tolist()) == {100, 200}


def test_a_smaller_subset_is_part_of_the_larger_one_and_the_same_for_every_arm() -> None:
    def chosen(limit: int, use_real: bool = True) -> set[str]:
        return {row.source for row in arm_rows(SOURCES, [SOURCES], use_real=use_real, limit=limit, seed=3)}

    assert len(chosen(16)) == 16
    assert chosen(8) < chosen(16) < chosen(32)
    assert chosen(16) == chosen(16, use_real=False)


def test_an_epoch_of_a_pool_shows_every_pair_once() -> None:
    data = arm()
    shown = [row_at(position, data, 0) for position in range(len(data.images))]
    assert sorted(shown) == list(range(len(data.images)))
    assert shown != sorted(shown)


def test_replace_on_access_shows_synthetic_pairs_half_of_the_time() -> None:
    data = arm("replace_on_access", limit=45)
    assert len(data.draws) == 36
    counts = shades(data, 36 * 50)
    with_samples = sum(len(draw.rows) > 1 for draw in data.draws) / len(data.draws)
    assert (counts[100] + counts[200]) / counts.total() == pytest.approx(0.5 * with_samples, abs=0.04)


def test_uniform_ij_shows_each_pair_of_a_source_equally_often() -> None:
    counts = shades(arm("uniform_ij"), 4000)
    assert counts[100] / counts[200] == pytest.approx(1, abs=0.1)
    assert counts[0] > counts[100]  # five sources have no synthetic pair


def test_append_bernoulli_keeps_all_real_and_half_of_the_synthetic_pairs() -> None:
    data = arm("append_bernoulli")
    shade = Counter(data.images[:, 4, 4, 0].tolist())
    assert shade[0] == 40
    assert 20 < shade[100] + shade[200] < 52


def test_the_manifest_names_what_trained_and_what_validated() -> None:
    data, manifest = prepare_arm(
        pairs(SOURCES, 0), [], use_real=True, real_limit=10, policy="pool", validation_fraction=0.2, seed=0
    )
    assert len(manifest["train"]) == len(data.images) == 8
    assert len(manifest["validation"]) == len(data.validation_images) == 2
    assert not set(manifest["train"]) & set(manifest["validation"])


def test_one_source_is_too_few() -> None:
    with pytest.raises(TooFewSources):
        prepare_arm(
            pairs(["a", "a"], 0), [], use_real=True, real_limit=None, policy="pool", validation_fraction=0.2, seed=0
        )
