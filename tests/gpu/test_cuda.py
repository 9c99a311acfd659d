"""On a CUDA device: the same science as on a CPU, less waiting, and memory that runs out costs nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import TrainingState, train
from segsmith_worker.inpainting.redraw import redraw
from tests.fixtures.small_trainings import AWARE, noting

DEVICE = "cuda"
LEFT_BYTES = 3 * 2**29
"""What the test of too little memory leaves of the device: room for the network, not for 256 images at once."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def pairs() -> Tensor:
    """Twelve drawn pairs, uint8 (12, 4, 16, 16)."""
    return drawn_pairs(12, 16)


@pytest.fixture(scope="module")
def trained(pairs: Tensor) -> dict[str, Tensor]:
    state = TrainingState.start(AWARE, 3)
    return train(state, pairs, AWARE, seed=3, until_images_seen=60).to_tensors()


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The device, but for `LEFT_BYTES` of it, is somebody else's."""
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, LEFT_BYTES / total))
    assert free > LEFT_BYTES, "other programs use the device"
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def drawn_pairs(count: int, side_px: int) -> Tensor:
    drawn = [draw_pair(0, index, side_px) for index in range(count)]
    stacked = np.stack([np.dstack([image, label * np.uint8(255)]) for image, label in drawn])
    return torch.from_numpy(stacked).movedim(3, 1).contiguous()


def losses_of(preset: Preset, pairs: Tensor, device: str, execution: Execution | None = None) -> list[float]:
    losses: list[float] = []
    state = TrainingState.start(preset, 3, device=device)
    train(
        state,
        pairs,
        preset,
        seed=3,
        until_images_seen=preset.training.images_total,
        on_step=lambda report: losses.append(report.loss),
        execution=execution,
    )
    return losses


def test_a_training_loses_what_it_loses_on_a_cpu(pairs: Tensor) -> None:
    assert losses_of(AWARE, pairs, DEVICE) == pytest.approx(losses_of(AWARE, pairs, "cpu"), rel=0.02)


def test_images_drawn_ahead_are_the_same_images(pairs: Tensor) -> None:
    ahead, in_step = (losses_of(AWARE, pairs, DEVICE, Execution(prefetch=prefetch)) for prefetch in (True, False))
    assert ahead == pytest.approx(in_step, rel=1e-3)


def test_a_compiled_training_loses_what_a_plain_one_does(pairs: Tensor) -> None:
    said: list[str] = []
    compiled = losses_of(AWARE, pairs, DEVICE, Execution(compiled=True, say=noting(said)))
    assert said == []
    assert compiled == pytest.approx(losses_of(AWARE, pairs, DEVICE), rel=0.02)


def test_a_training_cut_and_resumed_goes_on_as_if_it_had_not_been(pairs: Tensor) -> None:
    whole, cut = (TrainingState.start(AWARE, 3, device=DEVICE) for _ in range(2))
    train(whole, pairs, AWARE, seed=3, until_images_seen=60)
    train(cut, pairs, AWARE, seed=3, until_images_seen=30)
    resumed = TrainingState.from_tensors(AWARE, cut.to_tensors(), device=DEVICE)
    train(resumed, pairs, AWARE, seed=3, until_images_seen=60)
    expected, found = whole.to_tensors(), resumed.to_tensors()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=1e-2)


def test_a_sample_is_the_one_that_a_cpu_draws(pairs: Tensor, trained: dict[str, Tensor]) -> None:
    spec = AWARE.sampling.model_copy(update={"batch": 4, "precision": "float32"})
    on_cpu, on_device = (
        redraw(DiffusionModel.from_tensors(AWARE, trained, device=device), pairs[:8], range(8), spec)
        for device in ("cpu", DEVICE)
    )
    assert (on_cpu.images.float() - on_device.images.float()).abs().mean() < 1
    assert torch.equal(on_cpu.redraw_regions, on_device.redraw_regions)
    assert (on_cpu.labels != on_device.labels).float().mean() < 0.02


def test_samples_are_computed_in_bfloat16_unless_asked_for_otherwise(trained: dict[str, Tensor]) -> None:
    model = DiffusionModel.from_tensors(AWARE, trained, device=DEVICE)
    assert model.computing_in("auto").bfloat16
    assert not model.computing_in("float32").bfloat16


def test_where_memory_runs_out_a_training_goes_on_with_fewer_images_at_once(little_memory: None) -> None:
    at_once = {"batch": 512, "micro_batch": 512, "images_total": 512}
    preset = preset_named("small-64").with_overrides({"training": at_once})
    said: list[str] = []
    state = TrainingState.start(preset, 3, device=DEVICE)
    train(state, drawn_pairs(16, 64), preset, seed=3, until_images_seen=512, execution=Execution(say=noting(said)))
    assert state.images_seen == 512
    assert state.micro_batch < 512
    assert said


def test_where_memory_runs_out_fewer_sources_are_redrawn_at_once(little_memory: None) -> None:
    preset = preset_named("small-64").with_overrides({"sampling": {"batch": 1024, "evaluations": 2}})
    model = DiffusionModel.from_tensors(preset, TrainingState.start(preset, 1).to_tensors(), device=DEVICE)
    smaller: list[int] = []
    result = redraw(
        model,
        drawn_pairs(16, 64).repeat(64, 1, 1, 1),
        range(1024),
        preset.sampling,
        on_smaller_batch=smaller.append,
    )
    assert len(result.images) == 1024
    assert smaller
    assert smaller[0] == 512
