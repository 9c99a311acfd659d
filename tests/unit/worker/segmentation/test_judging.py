"""A judge never saw what it judges, finds labels that fit their picture, and does not find those that do not."""

import numpy as np
import pytest

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.splits import Member, SplitNotPossible
from segsmith_shared.plans.segmentation import preset_named
from segsmith_worker.segmentation.arms import Pairs, TooFewSources
from segsmith_worker.segmentation.judging import agreement_of, folds_of, judge_data
from segsmith_worker.segmentation.training import SegmentationState, best_network, network_of, train

SPEC = preset_named("tiny-cpu").with_overrides({"steps": 100, "validate_every_steps": 25, "lr": 5e-3})


def drawn(first: int, count: int) -> Pairs:
    made = [draw_pair(5, first + index, SPEC.side_px) for index in range(count)]
    names = [f"p{first + index}" for index in range(count)]
    return Pairs(
        np.stack([image for image, _ in made]), np.stack([label for _, label in made]).astype(np.uint8), names, names
    )


def members_of(pairs: Pairs, **groups: int) -> list[Member]:
    return [Member(name, groups.get(name)) for name in pairs.names]


def test_every_pair_has_one_fold_and_near_duplicates_share_theirs() -> None:
    members = members_of(drawn(0, 21), p0=0, p7=0, p20=0, p3=1, p4=1)
    fold_of = folds_of(members, 3, seed=1)
    assert sorted(fold_of) == sorted(member.name for member in members)
    assert [sorted(fold_of.values()).count(fold) for fold in range(3)] == [7, 7, 7]
    assert len({fold_of[name] for name in ("p0", "p7", "p20")}) == len({fold_of[name] for name in ("p3", "p4")}) == 1
    assert fold_of == folds_of(members, 3, seed=1) != folds_of(members, 3, seed=2)


def test_a_judge_is_taught_and_validated_on_other_folds_alone_and_twins_stay_on_one_side() -> None:
    real = drawn(0, 20)
    twins = {f"p{index}": index // 2 for index in range(20)}
    members = members_of(real, **twins)
    fold_of = folds_of(members, 2, seed=0)
    for fold in (0, 1):
        data, manifest = judge_data(real, members, fold_of, fold, SPEC, seed=3)
        taught, validated = manifest["train"], manifest["validation"]
        assert {fold_of[name] for name in (*taught, *validated)} == {1 - fold}
        assert len(data.images) + len(data.validation_images) == 10
        assert not {twins[name] for name in taught} & {twins[name] for name in validated}
        assert np.array_equal(data.images[0], real.images[real.names.index(taught[0])])


def test_too_few_pairs_for_the_folds_are_refused_by_name() -> None:
    pairs = drawn(0, 2)
    with pytest.raises(SplitNotPossible, match="2 pairs"):
        folds_of(members_of(pairs), 3, seed=0)
    members = members_of(pairs)
    with pytest.raises(TooFewSources):
        judge_data(pairs, members, folds_of(members, 2, seed=0), 0, SPEC, seed=0)


def test_fitting_labels_agree_and_planted_misfits_do_not() -> None:
    real = drawn(0, 40)
    members = members_of(real)
    data, _ = judge_data(real, members, folds_of(members, 2, seed=0), 0, SPEC, seed=0)
    state = train(SegmentationState.new(SPEC, 0), data, SPEC)
    judge = network_of(state.to_tensors(), SPEC)
    unseen = drawn(500, 24)
    fitting = agreement_of(judge, unseen.images, unseen.labels, SPEC)
    elsewhere = np.roll(unseen.labels, SPEC.side_px // 2, axis=(1, 2))
    misfits = agreement_of(judge, unseen.images, elsewhere, SPEC)
    assert np.median(fitting.dice) > 0.8
    assert np.median(misfits.dice) < 0.2
    assert np.mean(misfits.dice < np.quantile(fitting.dice, 0.1)) > 0.9
    assert np.all(fitting.iou <= fitting.dice)
    same = agreement_of(best_network(state, SPEC), unseen.images, unseen.labels, SPEC)
    assert np.array_equal(fitting.predictions, same.predictions)
