"""Trainings by several processes: the same batches, the same losses, cut or not, and nobody left behind."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.execution import Execution, Say, say_nothing
from segsmith_worker.diffusion.training import NonFiniteLoss, OnStep, StepReport, TrainingState, train
from segsmith_worker.steps import ranks
from tests.fixtures.engine_room import is_alive
from tests.fixtures.small_trainings import AWARE, PAPER, noting

pytestmark = pytest.mark.timeout(240)
SEED = 7


def order_of(preset: Preset, pair_count: int, clusters: list[int] | None) -> ranks.Order:
    return ranks.Order(preset.model_dump(mode="json"), SEED, clusters, 3 if clusters else 0, pair_count, 1, False)


def together(
    size: int,
    state: TrainingState,
    pairs: Tensor,
    preset: Preset,
    until: int,
    on_step: OnStep,
    *,
    clusters: list[int] | None = None,
    say: Say = say_nothing,
) -> TrainingState:
    order = order_of(preset, len(pairs), clusters)
    with ranks.team(size, order, state, pairs) as team:
        means = Execution(team=team, say=say)
        return train(
            state,
            pairs,
            preset,
            seed=SEED,
            until_images_seen=until,
            clusters=clusters,
            on_step=on_step,
            execution=means,
        )


def losses(reports: Sequence[StepReport]) -> list[float]:
    return [report.loss for report in reports]


@pytest.mark.slow
def test_two_processes_lose_as_one_does_also_when_cut_and_resumed_by_one_or_two(pairs: Tensor) -> None:
    """Five images a step, in passes of two: shares and passes are of unequal size."""
    preset = AWARE.with_overrides({"training": {"batch": 5, "micro_batch": 2, "images_total": 60}})
    clusters = [0, 1, 2, 0, 1]
    alone: list[StepReport] = []
    start = TrainingState.start(preset, SEED, clusters=3)
    train(start, pairs, preset, seed=SEED, until_images_seen=30, clusters=clusters, on_step=alone.append)
    by_two: list[StepReport] = []
    state = TrainingState.start(preset, SEED, clusters=3)
    for size, until in ((2, 10), (1, 20), (2, 30)):  # each resumes what the last one left
        state = TrainingState.from_tensors(preset, state.to_tensors())
        together(size, state, pairs, preset, until, by_two.append, clusters=clusters)
    assert [report.images_seen for report in by_two] == [report.images_seen for report in alone]
    assert losses(by_two) == pytest.approx(losses(alone), abs=1e-5)


def test_a_stop_reaches_every_process_at_the_same_step_and_none_is_left(pairs: Tensor) -> None:
    preset = AWARE.with_overrides({"training": {"batch": 4, "micro_batch": 2, "images_total": 10_000}})
    state = TrainingState.start(preset, SEED)
    children: list[int] = []

    def stop_at_three(report: StepReport) -> bool:
        children[:] = [process.pid or 0 for process in multiprocessing.active_children()]
        return report.step == 3

    together(2, state, pairs, preset, 10_000, stop_at_three)
    assert state.step == 3
    assert len(children) == 1
    assert not is_alive(children[0])


def test_a_lost_process_is_named_and_the_job_is_to_be_tried_again(pairs: Tensor) -> None:
    preset = AWARE.with_overrides({"training": {"batch": 4, "micro_batch": 2, "images_total": 10_000}})

    def kill_the_other(report: StepReport) -> None:
        if report.step == 2:
            (member,) = multiprocessing.active_children()
            os.kill(member.pid or 0, signal.SIGKILL)

    with pytest.raises(ranks.RankLost, match=r"rank 1 \(exit code -9\)") as caught:
        together(2, TrainingState.start(preset, SEED), pairs, preset, 10_000, kill_the_other)
    assert caught.value.retryable
    assert not multiprocessing.active_children()
    assert "watch of ranks" not in [thread.name for thread in threading.enumerate()]


def test_a_team_that_diverges_says_so_as_one_process_would(pairs: Tensor) -> None:
    preset = AWARE.with_overrides({"training": {"batch": 4, "micro_batch": 2, "images_total": 10_000}})
    state = TrainingState.start(preset, SEED)
    with torch.no_grad():
        state.network.get_parameter("out.2.bias").fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="Step 1"):
        together(2, state, pairs, preset, 10_000, lambda _: None)


def test_when_one_process_runs_out_of_memory_all_take_smaller_passes(pairs: Tensor) -> None:
    """Only the leader is short of memory; the other one's losses show that it followed."""
    preset = PAPER.with_overrides({"training": {"batch": 4, "micro_batch": 4}})
    alone: list[StepReport] = []
    train(TrainingState.start(preset, SEED), pairs, preset, seed=SEED, until_images_seen=12, on_step=alone.append)
    state = TrainingState.start(preset, SEED)

    def weigh(_module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments[0]) > 1:
            raise torch.OutOfMemoryError

    state.network.register_forward_pre_hook(weigh)
    tight: list[StepReport] = []
    said: list[str] = []
    together(2, state, pairs, preset, 12, tight.append, say=noting(said))
    assert state.micro_batch == 1
    assert said
    assert "2 images at once: 1 from now on" in said[0]
    assert losses(tight) == pytest.approx(losses(alone), abs=1e-5)


def test_more_processes_than_images_in_a_batch_are_not_started() -> None:
    assert ranks.team_size(4, 2) == 2
    assert ranks.team_size("all", 16) == max(1, torch.cuda.device_count())


def test_more_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ranks.team_size("all", 16) == 2
    with pytest.raises(ranks.TooFewDevices, match="sees 2") as caught:
        ranks.team_size(3, 16)
    assert "all" in caught.value.hint
