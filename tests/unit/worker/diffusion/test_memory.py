"""Too little memory: a training goes on with fewer images at once, on the same images and to the same result."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.batches import DrawnBatch, TrainingPairs
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.memory import OutOfDeviceMemory, in_memory
from segsmith_worker.diffusion.training import StepReport, TrainingState, train
from tests.fixtures.small_trainings import AWARE, PAPER, assert_same, noting

SIXES = {"training.batch": 6, "training.micro_batch": 6}


def holding(state: TrainingState, most: int, seen: list[int] | None = None) -> TrainingState:
    """The same state on a device that holds at most so many images at once."""

    def weigh(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        count = len(arguments[0])
        if count > most:
            raise torch.OutOfMemoryError(f"tried to hold {count} images")
        if seen is not None:
            seen.append(count)

    state.network.register_forward_pre_hook(weigh)
    return state


@pytest.mark.parametrize("preset", [AWARE.with_overrides(SIXES), PAPER.with_overrides(SIXES)], ids=["aware", "paper"])
def test_a_training_that_runs_out_of_memory_goes_on_with_smaller_passes_to_the_same_result(
    preset: Preset, pairs: Tensor
) -> None:
    curves: list[list[StepReport]] = [[], []]
    said: list[str] = []
    roomy = TrainingState.start(preset, 7)
    train(roomy, pairs, preset, seed=7, until_images_seen=24, on_step=curves[0].append)
    passes: list[int] = []
    tight = holding(TrainingState.start(preset, 7), 2, passes)
    execution = Execution(say=noting(said))
    train(tight, pairs, preset, seed=7, until_images_seen=24, on_step=curves[1].append, execution=execution)
    assert tight.micro_batch == 1
    assert passes == [1] * 24
    assert [report.images_seen for report in curves[0]] == [report.images_seen for report in curves[1]]
    assert [r.loss for r in curves[1]] == pytest.approx([r.loss for r in curves[0]], rel=1e-4)
    assert [r.gradient_norm for r in curves[1]] == pytest.approx([r.gradient_norm for r in curves[0]], rel=1e-3)
    assert len(said) == 2
    assert "6 images at once: 3 from now on" in said[0]


def test_memory_that_runs_out_in_the_middle_of_a_step_leaves_nothing_of_it_behind(pairs: Tensor) -> None:
    """The second pass of a step fails once: the first one's gradients must not count twice."""
    preset = AWARE.with_overrides({"training.batch": 4, "training.micro_batch": 2})
    halved = TrainingState.start(AWARE.with_overrides({"training.batch": 4, "training.micro_batch": 1}), 7)
    train(halved, pairs, preset, seed=7, until_images_seen=8)
    state = TrainingState.start(preset, 7)
    calls = 0

    def fail_once(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError

    state.network.register_forward_pre_hook(fail_once)
    train(state, pairs, preset, seed=7, until_images_seen=8)
    assert state.micro_batch == 1
    assert_same(state.to_tensors(), halved.to_tensors())


def test_a_resumed_training_goes_on_with_the_smaller_passes_and_ends_bit_equal(pairs: Tensor) -> None:
    preset = AWARE.with_overrides(SIXES)
    uncut = holding(TrainingState.start(preset, 7), 3)
    train(uncut, pairs, preset, seed=7, until_images_seen=36)
    cut = holding(TrainingState.start(preset, 7), 3)
    train(cut, pairs, preset, seed=7, until_images_seen=12)
    said: list[str] = []
    resumed = holding(TrainingState.from_tensors(preset, cut.to_tensors()), 3)
    train(resumed, pairs, preset, seed=7, until_images_seen=36, execution=Execution(say=noting(said)))
    assert said == []
    assert_same(resumed.to_tensors(), uncut.to_tensors())


def test_a_device_that_holds_no_image_at_all_is_named(pairs: Tensor) -> None:
    state = holding(TrainingState.start(AWARE, 7), 0)
    with pytest.raises(OutOfDeviceMemory, match="One picture") as caught:
        train(state, pairs, AWARE, seed=7, until_images_seen=30)
    assert "smaller network" in caught.value.hint
    assert state.step == 0


def test_images_drawn_ahead_are_the_same_images(pairs: Tensor) -> None:
    for preset in (AWARE.with_overrides({"training.micro_batch": 2}), PAPER.with_overrides(SIXES)):
        ends = []
        for ahead in (False, True):
            state = holding(TrainingState.start(preset, 7), 4)  # PAPER's halve on the way
            train(state, pairs, preset, seed=7, until_images_seen=30, execution=Execution(prefetch=ahead))
            ends.append(state.to_tensors())
        assert_same(*ends)


def test_the_next_images_are_drawn_in_a_thread_only_where_asked(pairs: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_by: list[str] = []
    draw = TrainingPairs.draw

    def watched(source: TrainingPairs, positions: range) -> DrawnBatch:
        drawn_by.append(threading.current_thread().name)
        return draw(source, positions)

    monkeypatch.setattr(TrainingPairs, "draw", watched)
    train(TrainingState.start(AWARE, 7), pairs, AWARE, seed=7, until_images_seen=6)
    assert set(drawn_by) == {threading.current_thread().name}
    drawn_by.clear()
    ahead = Execution(prefetch=True)
    train(TrainingState.start(AWARE, 7), pairs, AWARE, seed=7, until_images_seen=6, execution=ahead)
    assert set(drawn_by) == {"prefetch_0"}
    assert "prefetch_0" not in [thread.name for thread in threading.enumerate()]


def test_a_network_larger_than_the_device_is_named() -> None:
    with pytest.raises(OutOfDeviceMemory, match="The network alone"), in_memory("The network"):
        raise torch.OutOfMemoryError
