"""Arms train on what they say: exactly n real pairs, nested subsets, the published ways of mixing, one validation."""

from collections import Counter

import numpy as np
import pytest

from segsmith_shared.plans.specs import Policy
from segsmith_shared.randomness import numpy_generator_for
from segsmith_worker.segmentation.arms import (
    Pairs,
    Row,
    SegmentationData,
    TooFewSources,
    arm_rows,
    draws_of,
    prepare_arm,
)
from segsmith_worker.segmentation.training import row_at

SOURCES = [f"s{number:03}" for number in range(40)]
SYNTHETIC = (100, 200)


def pairs(sources: list[str], shade: int) -> Pairs:
    images = np.full((len(sources), 8, 8, 3), shade, dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(sources))
    return Pairs(images, (images[..., 0] > 0).astype(np.uint8), sources, [f"{shade}/{source}" for source in sources])


VALIDATION = pairs(["v0", "v1", "v2"], 50)


def arm(
    policy: Policy = "pool",
    *,
    use_real: bool = True,
    limit: int | None = None,
    seed: int = 0,
    without: tuple[str, ...] = (),
) -> SegmentationData:
    """Real pairs and two synthetic sets, of which five sources have no sample, and `without` none either."""
    accepted = [source for source in SOURCES[5:] if source not in without]
    return prepare_arm(
        pairs(SOURCES, 0),
        [pairs(accepted, shade) for shade in SYNTHETIC],
        VALIDATION,
        use_real=use_real,
        real_limit=limit,
        policy=policy,
        seed=seed,
    )[0]


def shades(data: SegmentationData, accesses: int) -> Counter[int]:
    return Counter(int(data.images[row_at(position, data, 0)][4, 4, 0]) for position in range(accesses))


@pytest.mark.parametrize("limit", [None, 1, 16])
@pytest.mark.parametrize("use_real", [True, False])
def test_every_arm_validates_on_the_same_real_pairs_and_trains_on_none_of_them(
    limit: int | None, use_real: bool
) -> None:
    data = arm(use_real=use_real, limit=limit if limit != 1 or use_real else 16)
    assert np.array_equal(data.validation_images, VALIDATION.images)
    assert 50 not in shades(data, 200)


@pytest.mark.parametrize("limit", [1, 16, 40])
def test_a_limit_of_n_trains_on_n_real_pairs(limit: int) -> None:
    data = arm(limit=limit)
    assert sum(data.images[:, 4, 4, 0] == 0) == limit


def test_more_real_pairs_than_there_are_is_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(TooFewSources, match="asks for 41 real pairs; there are 40"):
        arm(limit=41)


def test_a_synthetic_arm_holds_no_real_pair_whatever_the_policy() -> None:
    for policy in ("pool", "append_bernoulli", "replace_on_access"):
        data = arm(policy, use_real=False)
        assert set(shades(data, 500)) == set(SYNTHETIC)
        assert len(data.images) == 70  # there is nothing to append to or to replace


def test_a_smaller_subset_is_part_of_the_larger_one_and_the_same_for_every_arm() -> None:
    def chosen(limit: int, use_real: bool = True) -> set[str]:
        return {row.source for row in arm_rows(SOURCES, [SOURCES], use_real=use_real, limit=limit, seed=3)}

    assert len(chosen(16)) == 16
    assert chosen(8) < chosen(16) < chosen(32)
    assert chosen(16) == chosen(16, use_real=False)
    others = {row.source for row in arm_rows(SOURCES, [], use_real=True, limit=16, seed=4)}
    assert others != chosen(16)


def turns(data: SegmentationData, accepted: list[str]) -> list[tuple[int, str]]:
    """Origin and source of every pair, in the order of the first epoch."""
    shown = []
    for position in range(len(data.draws)):
        picture = data.images[row_at(position, data, 0)]
        shade, place = int(picture[4, 4, 0]), int(picture[0, 0, 0])
        shown.append((shade, (accepted if shade else SOURCES)[place]))
    return shown


@pytest.mark.parametrize("policy", ["pool", "append_bernoulli", "append_each_bernoulli"])
def test_a_rejected_sample_changes_no_other_pairs_turn_nor_toss(policy: Policy) -> None:
    accepted = SOURCES[5:]
    whole = turns(arm(policy), accepted)
    rejected = next(source for shade, source in whole if shade)  # one that is shown
    less = turns(arm(policy, without=(rejected,)), [source for source in accepted if source != rejected])
    assert less == [(shade, source) for shade, source in whole if not shade or source != rejected]
    assert len(less) < len(whole)


def test_an_epoch_of_a_pool_shows_every_pair_once_in_a_new_order_each_time() -> None:
    data = arm()
    count = len(data.images)
    epochs = [[row_at(epoch * count + place, data, 0) for place in range(count)] for epoch in range(2)]
    assert [sorted(shown) for shown in epochs] == [list(range(count))] * 2
    assert epochs[0] != epochs[1] != sorted(epochs[1])


def test_an_epoch_is_put_in_order_once_and_not_for_every_pair_that_is_shown() -> None:
    data = arm()
    order = data.order(0, 3)
    assert data.order(0, 3) is order
    assert sorted(order.tolist()) == list(range(len(data.draws)))
    assert data.order(0, 4).tolist() != order.tolist() != data.order(1, 3).tolist()
    assert data.order(0, 3).tolist() == order.tolist()


def test_replace_on_access_shows_synthetic_pairs_half_of_the_time() -> None:
    data = arm("replace_on_access")
    assert len(data.draws) == 40
    counts = shades(data, 40 * 50)
    with_samples = sum(len(draw.rows) > 1 for draw in data.draws) / len(data.draws)
    assert (counts[100] + counts[200]) / counts.total() == pytest.approx(0.5 * with_samples, abs=0.04)


def test_uniform_ij_shows_each_pair_of_a_source_equally_often() -> None:
    counts = shades(arm("uniform_ij"), 4000)
    assert counts[100] / counts[200] == pytest.approx(1, abs=0.1)
    assert counts[0] > counts[100]  # five sources have no synthetic pair


def samples_per_source(data: SegmentationData) -> Counter[int]:
    """How many sources have 0, 1 or 2 synthetic pairs in an arm, of those that have samples at all."""
    images = data.images[data.images[:, 4, 4, 0] > 0]
    found = Counter(int(place) for place in images[:, 0, 0, 0])
    return Counter(found[place] for place in range(35))


def test_append_bernoulli_tosses_once_for_a_real_pair_and_adds_all_of_its_samples_or_none() -> None:
    counts = sum((samples_per_source(arm("append_bernoulli", seed=seed)) for seed in range(20)), Counter[int]())
    assert set(counts) == {0, 2}
    assert counts[2] / counts.total() == pytest.approx(0.5, abs=0.06)
    assert (
        len(set(map(int, arm("append_bernoulli").images[arm("append_bernoulli").images[:, 4, 4, 0] == 0, 0, 0, 0])))
        == 40
    )


def test_append_each_bernoulli_tosses_for_every_sample() -> None:
    counts = sum((samples_per_source(arm("append_each_bernoulli", seed=seed)) for seed in range(20)), Counter[int]())
    assert counts[1] / counts.total() == pytest.approx(0.5, abs=0.06)
    assert counts[2] / counts.total() == pytest.approx(0.25, abs=0.06)


def rows_of_sets(sets: int) -> list[Row]:
    return arm_rows(SOURCES, [SOURCES] * sets, use_real=True, limit=None, seed=0)


@pytest.mark.parametrize("policy", ["append_bernoulli", "append_each_bernoulli"])
def test_the_tosses_for_the_first_set_do_not_depend_on_how_many_sets_there_are(policy: Policy) -> None:
    kept = [draws_of(rows_of_sets(sets), policy, 3, sources=SOURCES, sets=sets)[0] for sets in (1, 2, 3)]
    first_sets = [[row for row in rows if row.set_number <= 1] for rows in kept]
    assert first_sets[0] == first_sets[1] == first_sets[2]
    tosses = numpy_generator_for(3, "segmentation-append").random(len(SOURCES))
    heads = [source for source, toss in zip(SOURCES, tosses, strict=True) if toss < 0.5]
    assert [row.source for row in first_sets[0] if row.set_number == 1] == heads


def test_samples_of_one_source_are_tossed_for_apart_in_each_set() -> None:
    rows, _ = draws_of(rows_of_sets(2), "append_each_bernoulli", 3, sources=SOURCES, sets=2)
    of_set = [{row.source for row in rows if row.set_number == number} for number in (1, 2)]
    assert of_set[0] != of_set[1]
    assert of_set[0] & of_set[1]


def test_every_pair_of_a_pool_has_the_slot_of_its_set_and_source_and_is_drawn_for_sure() -> None:
    _, draws = draws_of(rows_of_sets(2), "pool", 0, sources=SOURCES, sets=2)
    assert [draw.slot for draw in draws] == list(range(120))
    assert all(draw.weights == (1.0,) and len(draw.rows) == 1 for draw in draws)


@pytest.mark.parametrize(
    ("policy", "weights"),
    [("replace_on_access", (0.25, 0.25, 0.25, 0.25)), ("uniform_ij", (0.25, 0.25, 0.25, 0.25))],
)
def test_the_weights_of_a_source_sum_to_one_whatever_it_has(policy: Policy, weights: tuple[float, ...]) -> None:
    rows = [Row("a", 0, 0), Row("a", 0, 1), Row("a", 1, 0), Row("a", 2, 0), Row("b", 0, 2), Row("c", 1, 1)]
    _, draws = draws_of(rows, policy, 0, sources="abc", sets=2)
    assert [draw.weights for draw in draws] == [weights, (1.0,), (1.0,)]


def test_replacing_shares_one_half_among_the_samples_and_leaves_the_other_to_the_real_pair() -> None:
    rows = [Row("a", 0, 0), *(Row("a", number, 0) for number in range(1, 6))]
    _, (draw,) = draws_of(rows, "replace_on_access", 0, sources="a", sets=5)
    assert draw.weights == pytest.approx((0.5, 0.1, 0.1, 0.1, 0.1, 0.1))


def test_pairs_with_a_name_or_a_label_missing_are_refused() -> None:
    whole = pairs(["a", "b"], 0)
    with pytest.raises(ValueError, match="equally long"):
        Pairs(whole.images, whole.labels, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="equally long"):
        Pairs(whole.images, whole.labels[:1], ["a", "b"], ["a", "b"])


def test_the_manifest_names_what_trained_and_what_validated() -> None:
    data, manifest = prepare_arm(pairs(SOURCES, 0), [], VALIDATION, use_real=True, real_limit=10, policy="pool", seed=0)
    assert len(manifest["train"]) == len(data.images) == 10
    assert manifest["validation"] == VALIDATION.names


def test_an_arm_whose_samples_were_all_rejected_says_so() -> None:
    with pytest.raises(TooFewSources, match="no pair to train on"):
        prepare_arm(
            pairs(SOURCES, 0), [pairs([], 100)], VALIDATION, use_real=False, real_limit=None, policy="pool", seed=0
        )
