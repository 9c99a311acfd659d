"""Tiny models of both kinds, and pairs to style."""

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_shared.vision.towers import BuiltInStyleTower, BuiltInTextureTower
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.unet import new_network
from segsmith_worker.randomness import generator_for
from segsmith_worker.styling.guidance import Towers
from tests.fixtures.smallest_network import NETWORK

AWARE = preset_named("tiny-cpu").with_overrides({"network": NETWORK})
PAPER = preset_named("paper-256-2023").with_overrides({"network": NETWORK})


def drawn_pairs(seed: int, count: int) -> Tensor:
    """uint8 (count, 4, 16, 16), label 0 or 255."""
    drawn = [draw_pair(seed, index, 16) for index in range(count)]
    stacked = np.stack([np.dstack([image, label * np.uint8(255)]) for image, label in drawn])
    return torch.from_numpy(stacked).movedim(3, 1).contiguous()


def untrained(preset: Preset, clusters: int = 0) -> DiffusionModel:
    """Weights that differ from zero everywhere: a network that starts silent would hide what its branches do."""
    aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
    network = new_network(preset.network, region_channel=aware, learned_range=learned, seed=3, clusters=clusters)
    generator = generator_for(3, "test-weights")
    weights = {
        name: value + torch.randn(value.shape, generator=generator) * 0.03
        for name, value in network.state_dict().items()
    }
    return DiffusionModel.from_tensors(preset, weights)


@pytest.fixture(scope="session")
def aware() -> DiffusionModel:
    """Inpainting-aware, v, cosine, fixed variance."""
    return untrained(AWARE)


@pytest.fixture(scope="session")
def paper() -> DiffusionModel:
    """Unconditional, ε, linear, learned variance."""
    return untrained(PAPER)


@pytest.fixture(scope="session")
def told() -> DiffusionModel:
    """Inpainting-aware, and told one of three clusters."""
    return untrained(AWARE, clusters=3)


@pytest.fixture(params=[AWARE, PAPER], ids=["aware", "paper"])
def two_classes(request: pytest.FixtureRequest) -> DiffusionModel:
    """Of either kind, for labels of two classes."""
    preset: Preset = request.param
    return untrained(preset.with_overrides({"network.classes": 2}))


@pytest.fixture(params=["aware", "paper"])
def model(request: pytest.FixtureRequest) -> DiffusionModel:
    chosen: DiffusionModel = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="session")
def towers() -> Towers:
    return Towers(BuiltInStyleTower(), BuiltInTextureTower())


@pytest.fixture(scope="session")
def contents() -> Tensor:
    """Three pairs to style."""
    return drawn_pairs(1, 3)


@pytest.fixture(scope="session")
def targets() -> Tensor:
    """Three other pictures to style them after."""
    return drawn_pairs(2, 3)[:, :3]


@pytest.fixture(scope="session")
def regions() -> Tensor:
    """The same half of the pixels in the middle of each, bool (3, 16, 16)."""
    region = torch.zeros(3, 16, 16, dtype=torch.bool)
    region[:, 2:14, 3:13] = True
    return region
