"""torch.compile: the same losses, only where it pays, and a failure that is said and survived."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import preset_named
from segsmith_worker.diffusion import compiling
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.training import StepReport, TrainingState, train
from tests.fixtures.small_trainings import AWARE, assert_same, noting

SLIM = AWARE.with_overrides({"network.channel_multipliers": [1], "network.attention_sides_px": [16]})


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing compiled is carried from test to test."""
    yield
    compiling.forget()


def trained(pairs: Tensor, execution: Execution) -> tuple[TrainingState, list[StepReport]]:
    reports: list[StepReport] = []
    state = TrainingState.start(SLIM, 7)
    train(state, pairs, SLIM, seed=7, until_images_seen=12, on_step=reports.append, execution=execution)
    return state, reports


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("default")  # torch's own, while it compiles
@pytest.mark.slow
def test_a_compiled_training_has_the_losses_of_an_uncompiled_one(pairs: Tensor) -> None:
    said: list[str] = []
    _, plain = trained(pairs, Execution())
    _, fused = trained(pairs, Execution(compiled=True, say=noting(said)))
    assert said == []
    assert [report.loss for report in fused] == pytest.approx([report.loss for report in plain], abs=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled:UserWarning", "default")
@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_is_trained_as_it_is_and_a_person_is_told(
    pairs: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)  # else it was compiled earlier
    said: list[str] = []
    state, _ = trained(pairs, Execution(compiled=True, say=noting(said)))
    assert len(said) == 1
    assert "torch.compile failed" in said[0]
    assert_same(state.to_tensors(), trained(pairs, Execution())[0].to_tensors())


def test_only_long_trainings_on_cuda_are_compiled_unless_asked() -> None:
    paper, tiny = preset_named("paper-256-2023"), preset_named("tiny-cpu")
    assert compiling.pays("auto", "cuda", paper)
    assert not compiling.pays("auto", "cuda", tiny)
    assert not compiling.pays("auto", "cpu", paper)
    assert compiling.pays("on", "cpu", tiny)
    assert not compiling.pays("off", "cuda", paper)
