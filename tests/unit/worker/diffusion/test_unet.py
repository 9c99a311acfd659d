"""The U-Net against diffusers' under the same weights, and its shape against the published one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segsmith_shared.plans.cost import forward_flops
from segsmith_shared.plans.presets import PRESETS, NetworkSpec, Preset, preset_named
from segsmith_worker.diffusion.unet import UNet, new_network, time_embedding
from segsmith_worker.randomness import generator_for

SPEC = NetworkSpec(
    side_px=32,
    base_channels=32,
    channel_multipliers=(1, 2, 2),
    residual_blocks=2,
    attention_sides_px=(16, 8),
    head_channels=32,
    norm_groups=32,
    resampling="residual",
    dropout=0.0,
)


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Every weight drawn anew: zero-initialised branches would otherwise hide whatever they compute."""
    generator = generator_for(0, "weights")
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        shift = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        parameter.data = shift + torch.randn(parameter.shape, generator=generator) * (0.5 / fan_in**0.5)
    return network.eval()


def paper_like_oracle() -> Any:
    new_network: Any = UNet2DModel  # diffusers is untyped
    return new_network(
        sample_size=32,
        in_channels=4,
        out_channels=8,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        norm_num_groups=32,
        attn_norm_num_groups=32,
        resnet_time_scale_shift="scale_shift",
        downsample_type="resnet",
        upsample_type="resnet",
        attention_head_dim=32,
        flip_sin_to_cos=True,
        freq_shift=0,
        norm_eps=1e-5,
    )


def resnet_names(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    parts = {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
    }
    for mine, other in parts.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{mine}.{kind}", f"{theirs}.{other}.{kind}"


def oracle_weights(network: UNet, spec: NetworkSpec) -> dict[str, Tensor]:
    """Our weights under diffusers' names: stage by stage, attention split per head into q, k and v."""
    weights, names, translated = network.state_dict(), list[tuple[str, str]](), dict[str, Tensor]()

    def attention(ours: str, theirs: str) -> None:
        channels = len(weights[f"{ours}.norm.weight"])
        heads = channels // spec.head_channels
        for kind in ("weight", "bias"):
            translated[f"{theirs}.group_norm.{kind}"] = weights[f"{ours}.norm.{kind}"]
            qkv = weights[f"{ours}.qkv.{kind}"].squeeze(-1).unflatten(0, (heads, 3, spec.head_channels))
            for index, name in enumerate(("to_q", "to_k", "to_v")):
                translated[f"{theirs}.{name}.{kind}"] = qkv[:, index].flatten(0, 1)
            translated[f"{theirs}.to_out.0.{kind}"] = weights[f"{ours}.proj_out.{kind}"].squeeze(-1)

    levels = len(spec.channel_multipliers)
    stage = 1
    for level in range(levels):
        for block in range(spec.residual_blocks):
            names += resnet_names(f"input_blocks.{stage}.0", f"down_blocks.{level}.resnets.{block}")
            if level:
                attention(f"input_blocks.{stage}.1", f"down_blocks.{level}.attentions.{block}")
            stage += 1
        if level + 1 < levels:
            names += resnet_names(f"input_blocks.{stage}.0", f"down_blocks.{level}.downsamplers.0")
            stage += 1
    names += resnet_names("middle_block.0", "mid_block.resnets.0")
    attention("middle_block.1", "mid_block.attentions.0")
    names += resnet_names("middle_block.2", "mid_block.resnets.1")
    stage = 0
    for up, level in enumerate(reversed(range(levels))):
        for block in range(spec.residual_blocks + 1):
            names += resnet_names(f"output_blocks.{stage}.0", f"up_blocks.{up}.resnets.{block}")
            if level:
                attention(f"output_blocks.{stage}.1", f"up_blocks.{up}.attentions.{block}")
            if level and block == spec.residual_blocks:
                place = "upsamplers.0"
                names += resnet_names(f"output_blocks.{stage}.2", f"up_blocks.{up}.{place}")
            stage += 1
    for kind in ("weight", "bias"):
        names += [
            (f"time_embed.0.{kind}", f"time_embedding.linear_1.{kind}"),
            (f"time_embed.2.{kind}", f"time_embedding.linear_2.{kind}"),
            (f"input_blocks.0.0.{kind}", f"conv_in.{kind}"),
            (f"out.0.{kind}", f"conv_norm_out.{kind}"),
            (f"out.2.{kind}", f"conv_out.{kind}"),
        ]
    return translated | {theirs: weights[ours] for ours, theirs in names if ours in weights}


def test_the_network_computes_what_diffusers_computes_with_the_same_weights() -> None:
    network = UNet(SPEC, region_channel=False, learned_range=True)
    randomised(network)
    theirs = paper_like_oracle().eval()
    theirs.load_state_dict(oracle_weights(network, SPEC), strict=True)
    x, times = torch.randn(2, 4, 32, 32, generator=generator_for(0, "x")), torch.tensor([3.0, 917.0])
    with torch.no_grad():
        ours, expected = network(x, times), theirs(x, times).sample
    assert expected.std() > 0.1
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max().clamp_min(1)


def test_working_in_place_changes_neither_the_answer_nor_what_was_asked() -> None:
    network = randomised(new_network(SPEC, region_channel=False, learned_range=True, seed=0))
    x, times = torch.randn(2, 4, 32, 32, generator=generator_for(1, "x")), torch.tensor([3.0, 700.0])
    asked = x.clone()

    with_gradients = network(x, times)
    with torch.inference_mode():
        in_place = network(x, times)

    assert torch.equal(in_place, with_gradients.detach())
    assert torch.equal(x, asked)


def test_an_output_and_its_encoder_features_come_from_one_evaluation() -> None:
    network = UNet(SPEC, region_channel=False, learned_range=True)
    randomised(network)
    x, times = torch.randn(2, 4, 32, 32, generator=generator_for(0, "x")), torch.tensor([3.0, 917.0])
    middles: list[bool] = []
    network.middle_block.register_forward_hook(lambda *_: middles.append(True))
    with torch.no_grad():
        output, maps = network.forward_with_encoder(x, times)
        assert len(middles) == 1
        assert torch.equal(output, network(x, times))
        alone = network.encode(x, times)
    assert len(middles) == 2
    assert [each.shape[-1] for each in maps] == [32, 32, 32, 16, 16, 16, 8, 8, 8]
    assert all(torch.equal(one, other) for one, other in zip(maps, alone, strict=True))


def test_the_papers_network_has_its_published_size() -> None:
    assert round(parameters_of("paper-256-2024") / 1e6, 1) == 526.6


def test_attending_at_8_as_well_adds_five_attention_blocks_to_the_papers_network() -> None:
    blocks = 5 * (2 * 1024 + 4 * 1024 * 1024 + 4 * 1024)
    assert parameters_of("paper-256-2023") == parameters_of("paper-256-2024") + blocks


def test_small_64_stays_small() -> None:
    assert parameters_of("small-64") <= 9e6


def parameters_of(name: str) -> int:
    return sum(parameter.numel() for parameter in on_meta(preset_named(name)).parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_a_forward_pass_gives_a_pair_and_costs_what_the_plan_says(name: str) -> None:
    preset = preset_named(name)
    network = on_meta(preset)
    side_px = preset.network.side_px
    inputs = 5 if preset.training.inpainting_aware else 4
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = network(torch.empty(1, inputs, side_px, side_px, device="meta"), torch.empty(1, device="meta"))
    assert output.shape == (1, 8 if preset.diffusion.learned_range else 4, side_px, side_px)
    assert counter.get_total_flops() == pytest.approx(forward_flops(preset), rel=0.002)


def on_meta(preset: Preset) -> UNet:
    aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
    with torch.device("meta"):
        return UNet(preset.network, region_channel=aware, learned_range=learned)


@pytest.mark.parametrize(
    "name",
    [
        "time_embed.0.weight",
        "input_blocks.1.0.in_layers.0.weight",
        "input_blocks.1.0.emb_layers.1.weight",
        "input_blocks.3.0.out_layers.3.bias",
        "input_blocks.13.1.qkv.weight",
        "input_blocks.13.1.proj_out.weight",
        "middle_block.1.norm.weight",
        "output_blocks.0.0.skip_connection.weight",
        "output_blocks.2.2.in_layers.2.weight",
        "out.2.weight",
    ],
)
def test_parameters_bear_guided_diffusions_names(name: str) -> None:
    assert name in on_meta(preset_named("paper-256-2023")).state_dict()


def test_a_new_network_depends_on_its_seed_alone_and_starts_silent() -> None:
    torch.rand(3)  # moves torch's global generator, which must not matter
    first = new_network(SPEC, region_channel=True, learned_range=False, seed=4)
    torch.rand(5)
    again = new_network(SPEC, region_channel=True, learned_range=False, seed=4)
    other = new_network(SPEC, region_channel=True, learned_range=False, seed=5)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(first.state_dict()["time_embed.0.weight"], other.state_dict()["time_embed.0.weight"])
    x = torch.randn(1, 5, 32, 32, generator=generator_for(0, "x"))
    assert first(x, torch.ones(1)).abs().max() == 0


def test_a_new_network_does_not_yet_hear_the_region() -> None:
    network = new_network(SPEC, region_channel=True, learned_range=False, seed=4)
    entrance = network.get_submodule("input_blocks.0")
    pair = torch.randn(1, 4, 32, 32, generator=generator_for(0, "x"))
    embedding = torch.zeros(1, 128)
    outside = entrance(torch.cat([pair, torch.zeros(1, 1, 32, 32)], 1), embedding)
    inside = entrance(torch.cat([pair, torch.ones(1, 1, 32, 32)], 1), embedding)
    assert torch.equal(outside, inside)


def test_the_time_embedding_tells_neighbouring_times_apart() -> None:
    embedded = time_embedding(torch.arange(1000), 64)
    assert embedded.shape == (1000, 64)
    assert (embedded[1:] - embedded[:-1]).norm(dim=1).min() > 0.1
