"""Checkpoints under guided-diffusion's names find their preset, or learn why they have none."""

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import preset_named
from segsmith_worker.diffusion.import_guided import CheckpointDoesNotFit, import_guided, preset_for
from segsmith_worker.diffusion.unet import UNet, new_network


def weights_of(name: str) -> dict[str, Tensor]:
    """Weightless weights of a preset's network: names and shapes only."""
    preset = preset_named(name)
    with torch.device("meta"):
        return UNet(preset.network, region_channel=False, learned_range=True).state_dict()


@pytest.mark.parametrize("name", ["paper-256-2023", "paper-256-2024"])
def test_each_of_the_authors_networks_is_told_by_its_names(name: str) -> None:
    assert preset_for(weights_of(name)).name == name


def test_a_small_checkpoint_is_loaded_whole() -> None:
    preset = preset_named("tiny-cpu")
    weights = new_network(preset.network, region_channel=True, learned_range=False, seed=1).state_dict()
    model = import_guided(weights)
    assert model.preset == preset
    loaded = model.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


def test_a_checkpoint_of_another_network_is_refused_by_the_first_difference() -> None:
    weights = weights_of("paper-256-2024")
    weights["input_blocks.0.0.weight"] = torch.empty(256, 3, 3, 3, device="meta")
    with pytest.raises(CheckpointDoesNotFit, match=r"paper-256-2024.*1 parameters.*256×3×3×3 instead of 256×4×3×3"):
        preset_for(weights)
