"""A segmentation training learns, keeps its best weights, and resumes without a trace of the cut."""

import time

import numpy as np
import pytest
import torch

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.segmentation import SegmentationSpec, preset_named
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of
from segsmith_worker.segmentation import scores, training
from segsmith_worker.segmentation.arms import Pairs, SegmentationData, chosen_pairs, prepare_arm
from segsmith_worker.segmentation.judging import agreement_of
from segsmith_worker.segmentation.training import SegmentationState, StepReport, network_of, train
from tests.fixtures.class_pairs import class_pairs

SHORT = preset_named("tiny-cpu").with_overrides({"steps": 9, "batch": 4, "side_px": 32, "validate_every_steps": 2})


def drawn(first: int, count: int, side_px: int) -> Pairs:
    made = [draw_pair(11, first + index, side_px) for index in range(count)]
    names = [str(first + index) for index in range(count)]
    return Pairs(
        np.stack([image for image, _ in made]), np.stack([label for _, label in made]).astype(np.uint8), names, names
    )


def discs(count: int, side_px: int, seed: int = 0) -> Pairs:
    """Of two classes, red and blue."""
    squares = class_pairs(count, side_px, seed).numpy()
    names = [str(place) for place in range(count)]
    return Pairs(images_of(squares), class_maps_of(squares), names, names)


def data_for(spec: SegmentationSpec, count: int = 10) -> SegmentationData:
    return arm_of(drawn(0, count, spec.side_px), spec)


def arm_of(pairs: Pairs, spec: SegmentationSpec) -> SegmentationData:
    """A fifth of the pairs validates."""
    held_out = max(1, round(spec.validation_fraction * len(pairs.names)))
    taught, validation = (
        chosen_pairs(pairs, places) for places in (range(held_out, len(pairs.names)), range(held_out))
    )
    return prepare_arm(taught, [], validation, use_real=True, real_limit=None, policy="pool", seed=0)[0]


def assert_equal(first: SegmentationState, second: SegmentationState) -> None:
    ours, theirs = first.to_tensors(), second.to_tensors()
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def test_a_training_cut_anywhere_and_resumed_equals_the_uncut_one_bit_for_bit() -> None:
    data = data_for(SHORT)
    uncut = train(SegmentationState.new(SHORT, 3), data, SHORT)
    state = SegmentationState.new(SHORT, 3)
    for until_step in (1, 4, 5, 9):
        state = SegmentationState.from_tensors(state.to_tensors(), SHORT)
        state = train(state, data, SHORT, until_step)
    assert state.step == 9
    assert_equal(state, uncut)


def test_stopping_after_a_step_is_such_a_cut() -> None:
    data, reports = data_for(SHORT), list[StepReport]()

    def stop_at_three(report: StepReport) -> bool:
        reports.append(report)
        return report.step == 3

    state = train(SegmentationState.new(SHORT, 3), data, SHORT, on_step=stop_at_three)
    assert [report.step for report in reports] == [1, 2, 3]
    assert [report.validation_iou is not None for report in reports] == [False, True, False]
    assert_equal(train(state, data, SHORT), train(SegmentationState.new(SHORT, 3), data, SHORT))


def test_the_last_step_is_validated_and_the_best_weights_are_kept() -> None:
    data = data_for(SHORT)
    state = train(SegmentationState.new(SHORT, 3), data, SHORT)
    assert [step for step, _ in state.validations] == [2, 4, 6, 8, 9]
    assert state.best_iou == max(value for _, value in state.validations)
    predicted = training.predict(training.best_network(state, SHORT), data.validation_images, SHORT)
    assert scores.mean_iou(scores.class_maps(predicted), data.validation_labels, 1) == pytest.approx(state.best_iou)


def test_the_learning_rate_drops_at_its_step() -> None:
    spec = preset_named("paper-256")
    assert {training.learning_rate(step, spec) for step in range(900)} == {1e-4}
    assert {training.learning_rate(step, spec) for step in range(900, 2700)} == {1e-5}


def test_a_list_shorter_than_the_batch_wraps_around() -> None:
    state = train(SegmentationState.new(SHORT, 0), data_for(SHORT, count=3), SHORT, until_step=1)
    assert state.step == 1


def test_a_loss_that_is_no_number_stops_the_training_with_its_step() -> None:
    state = SegmentationState.new(SHORT, 0)
    with torch.no_grad():
        next(state.network.parameters()).fill_(float("nan"))
    with pytest.raises(training.NonFiniteSegmentationLoss, match="step 1"):
        train(state, data_for(SHORT), SHORT)


def test_the_tiny_preset_finds_drawn_lesions_within_its_time() -> None:
    """Twice the limit on a busy machine: alone on one core it takes about 6 s."""
    spec = preset_named("tiny-cpu")
    data, unseen = data_for(spec, 60), drawn(500, 40, spec.side_px)
    started = time.monotonic()
    state = train(SegmentationState.new(spec, 0), data, spec)
    seconds = time.monotonic() - started
    result = scores.score(training.predict(training.best_network(state, spec), unseen.images, spec), unseen.labels)
    everything = scores.score(np.ones_like(unseen.labels[:, None], dtype=np.float32), unseen.labels)
    assert result.dice > 0.9
    assert result.dice > everything.dice + 0.3
    assert seconds < 60


def test_two_classes_are_told_apart_by_their_colour_after_a_short_training() -> None:
    spec = SHORT.with_overrides({"steps": 120, "batch": 8, "lr": 5e-3, "validate_every_steps": 20})
    data = arm_of(discs(24, spec.side_px), spec)
    state = train(SegmentationState.new(spec, 0, classes=2), data, spec)
    unseen = discs(16, spec.side_px, seed=5)
    network = network_of(state.to_tensors(), spec)
    result = scores.score(training.predict(network, unseen.images, spec), unseen.labels, ["red", "blue"])
    assert result.figures()["dice[red]"] > 0.7
    assert result.figures()["dice[blue]"] > 0.7
    swapped = np.choose(unseen.labels, (0, 2, 1)).astype(np.uint8)
    told = agreement_of(network, unseen.images, swapped, spec)
    assert np.median(told.dice) < 0.1  # the right place, but of the other class


def test_a_training_of_several_classes_resumes_without_a_trace() -> None:
    spec = SHORT.with_overrides({"steps": 3, "validate_every_steps": 1})
    data = arm_of(discs(6, spec.side_px), spec)
    uncut = train(SegmentationState.new(spec, 3, classes=2), data, spec)
    cut = train(SegmentationState.new(spec, 3, classes=2), data, spec, until_step=1)
    resumed = train(SegmentationState.from_tensors(cut.to_tensors(), spec), data, spec)
    assert resumed.classes == 2
    assert_equal(resumed, uncut)
