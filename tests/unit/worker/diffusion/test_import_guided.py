"""Checkpoints under guided-diffusion's names find their preset, or learn why they have none."""

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import NetworkSpec, preset_named
from segsmith_worker.diffusion.import_guided import (
    CheckpointDoesNotFit,
    ToldByName,
    import_guided,
    preset_for,
    told_by_name,
    widened,
)
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.unet import UNet, new_network
from segsmith_worker.randomness import generator_for
from tests.fixtures.guided import guided_network, pictures_only, randomised

PICTURE, LABEL = [0, 1, 2, 4, 5, 6], [3, 7]


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


@pytest.mark.parametrize("attention", [(16,), (16, 8), (32, 16, 8), ()])
def test_where_the_papers_network_attends_is_told_by_its_names(attention: tuple[int, ...]) -> None:
    preset = preset_named("paper-256-2023").with_overrides({"network.attention_sides_px": attention})
    with torch.device("meta"):
        weights = UNet(preset.network, region_channel=False, learned_range=True).state_dict()
    found = preset_for(weights)
    assert found.network == preset.network
    assert found.training.recipe == ("2024" if attention == (16,) else "2023")


@pytest.mark.parametrize("learned_range", [True, False])
def test_a_small_network_of_the_same_structure_is_described_by_its_names(learned_range: bool) -> None:
    network = guided_network(attention_sides_px=(16, 8))
    found = preset_for(weightless(network, learned_range=learned_range), side_px=32)
    assert found.network == network
    assert found.diffusion.learned_range == learned_range
    assert found.sampling.sampler == "repaint"


def weightless(network: NetworkSpec, *, learned_range: bool) -> dict[str, Tensor]:
    with torch.device("meta"):
        return UNet(network, region_channel=False, learned_range=learned_range).state_dict()


@pytest.mark.parametrize("change", ["an extra tensor", "a missing tensor", "another shape", "no names", "a huge stage"])
def test_what_is_nearly_such_a_network_is_refused(change: str) -> None:
    weights = weightless(guided_network(), learned_range=True)
    if change == "an extra tensor":
        weights["label_emb.weight"] = torch.empty(10, 128, device="meta")
    elif change == "a missing tensor":
        del weights["middle_block.1.qkv.bias"]
    elif change == "another shape":
        weights["time_embed.2.weight"] = torch.empty(7, device="meta")
    elif change == "a huge stage":
        weights["output_blocks.9999.1.in_layers.0.weight"] = torch.empty(1, device="meta")
    else:
        weights = {"weight": torch.empty(3, device="meta")}
    with pytest.raises(CheckpointDoesNotFit):
        preset_for(weights, side_px=32)


def test_a_widened_model_of_pictures_draws_the_same_pictures_and_no_label() -> None:
    deaf = randomised(guided_network(), seed=3)
    deaf["input_blocks.0.0.weight"][:, 3] = 0
    wider = widened(pictures_only(deaf))
    pair = torch.randn(2, 4, 32, 32, generator=generator_for(0, "x"))
    before, after = (output_of(weights, pair) for weights in (deaf, wider))
    torch.testing.assert_close(after[:, PICTURE], before[:, PICTURE] + 0.1)
    assert after[:, LABEL].abs().max() == 0
    assert before[:, LABEL].abs().min() > 0


def output_of(weights: dict[str, Tensor], pair: Tensor) -> Tensor:
    model = DiffusionModel.from_tensors(preset_for(weights, side_px=32), weights)
    with torch.no_grad():
        output: Tensor = model.network(pair, torch.tensor([7.0, 70.0]))
    return output


def test_a_model_of_pairs_is_not_widened() -> None:
    weights = weightless(guided_network(), learned_range=True)
    assert widened(weights) == weights
    mixed = weights | {"input_blocks.0.0.weight": torch.empty(32, 3, 3, 3, device="meta")}
    assert widened(mixed) == mixed


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cluster_3_model_110000.pt", ToldByName("raw", 3, 110_000)),
        ("cluster_12_ema_0.9999_003600.pt", ToldByName("ema", 12, 3600)),
        ("ema_0.9999_110000.pt", ToldByName("ema", None, 110_000)),
        ("model200000.pt", ToldByName("raw", None, 200_000)),
        ("256x256_diffusion_uncond.pt", ToldByName("raw", None, None)),
        ("schema.pt", ToldByName("raw", None, None)),
    ],
)
def test_what_a_file_name_says(name: str, told: ToldByName) -> None:
    assert told_by_name(name) == told
