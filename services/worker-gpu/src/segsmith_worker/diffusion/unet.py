"""The U-Net, named parameter by parameter as in guided-diffusion, so that the authors' checkpoints load strictly."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from segsmith_shared.plans.presets import NetworkSpec

PAIR_CHANNELS = 4
"""Red, green, blue, label."""


class UNet(nn.Module):
    """Dhariwal and Nichol's U-Net (2021, §3): x (B, C, H, W), times (B,) → (B, out, H, W).

    `region_channel` adds a fifth input, zero-initialised, that says where to redraw: at first it changes nothing, so a
    four-channel checkpoint can be carried over. `learned_range` doubles the outputs.
    """

    def __init__(self, spec: NetworkSpec, *, region_channel: bool, learned_range: bool) -> None:
        super().__init__()
        self.base_channels = spec.base_channels
        embedded = 4 * spec.base_channels
        widen = nn.Linear(spec.base_channels, embedded)
        self.time_embed = nn.Sequential(widen, nn.SiLU(), nn.Linear(embedded, embedded))
        first = spec.base_channels * spec.channel_multipliers[0]
        entrance = nn.Conv2d(PAIR_CHANNELS + region_channel, first, 3, padding=1)
        self.input_blocks = nn.ModuleList([_Stage(entrance), *_down_path(spec)])
        deepest = spec.base_channels * spec.channel_multipliers[-1]
        self.middle_block = _Stage(
            _ResidualBlock(spec, deepest, deepest),
            _Attention(spec, deepest),
            _ResidualBlock(spec, deepest, deepest),
        )
        self.output_blocks = nn.ModuleList(_up_path(spec))
        last = nn.Conv2d(first, PAIR_CHANNELS * (2 if learned_range else 1), 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(spec.norm_groups, first), nn.SiLU(), _zeroed(last))
        if region_channel:
            with torch.no_grad():
                entrance.weight[:, PAIR_CHANNELS:] = 0

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """x (B, 4 or 5, H, W) in −1..1 and the times (B,) on the training chain's scale 0..T → (B, 4 or 8, H, W)."""
        embedding = self.time_embed(time_embedding(times, self.base_channels).to(x.dtype))
        hidden = x.contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for stage in self.input_blocks:
            hidden = stage(hidden, embedding)
            skips.append(hidden)
        hidden = self.middle_block(hidden, embedding)
        for stage in self.output_blocks:
            hidden = stage(torch.cat([hidden, skips.pop()], dim=1), embedding)
        output: Tensor = self.out(hidden)
        return output


def time_embedding(times: Tensor, channels: int) -> Tensor:
    """Cosines then sines of the times (B,) at geometric frequencies 1 … 1/10000: (B, channels), float32."""
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=times.device) / half
    angles = times.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class _Stage(nn.Sequential):
    """Layers in a row, of which the residual blocks also see the time embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]  # Sequential has one input
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, _ResidualBlock) else layer(x)
        return x


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a scale and shift from the time embedding; `resample` is None, "down" or "up"."""

    def __init__(self, spec: NetworkSpec, channels: int, out_channels: int, resample: str | None = None) -> None:
        super().__init__()
        self.resample = resample
        first = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.in_layers = nn.Sequential(nn.GroupNorm(spec.norm_groups, channels), nn.SiLU(), first)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * spec.base_channels, 2 * out_channels))
        last = _zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        norm = nn.GroupNorm(spec.norm_groups, out_channels)
        self.out_layers = nn.Sequential(norm, nn.SiLU(), nn.Dropout(spec.dropout), last)
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.in_layers[1](self.in_layers[0](x))
        hidden = self.in_layers[2](_resampled(hidden, self.resample))
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.out_layers[0](hidden) * (1 + scale) + shift
        for layer in self.out_layers[1:]:
            hidden = layer(hidden)
        skipped: Tensor = self.skip_connection(_resampled(x, self.resample))
        return skipped + hidden


class _Attention(nn.Module):
    """Self-attention over all positions, heads laid out as [q, k, v] per head (guided-diffusion's older order)."""

    def __init__(self, spec: NetworkSpec, channels: int) -> None:
        super().__init__()
        self.heads = channels // spec.head_channels
        self.norm = nn.GroupNorm(spec.norm_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(x).flatten(2)
        q, k, v = self.qkv(flat).unflatten(1, (self.heads, 3, -1)).transpose(-1, -2).unbind(dim=2)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2).flatten(1, 2)
        projected: Tensor = self.proj_out(attended)
        return x + projected.reshape(x.shape)


class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        halved: Tensor = self.op(x)
        return halved


class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.conv(_resampled(x, "up"))
        return doubled


def _down_path(spec: NetworkSpec) -> Iterator[_Stage]:
    channels = spec.base_channels * spec.channel_multipliers[0]
    for level, multiplier in enumerate(spec.channel_multipliers):
        width = spec.base_channels * multiplier
        for _ in range(spec.residual_blocks):
            yield _Stage(_ResidualBlock(spec, channels, width), *_attention_at(spec, level))
            channels = width
        if level + 1 < len(spec.channel_multipliers):
            yield _Stage(_resampling(spec, channels, "down"))


def _up_path(spec: NetworkSpec) -> Iterator[_Stage]:
    skips = _skip_channels(spec)
    channels = skips[-1]
    for level in reversed(range(len(spec.channel_multipliers))):
        width = spec.base_channels * spec.channel_multipliers[level]
        for block in range(spec.residual_blocks + 1):
            joined = channels + skips.pop()
            layers = [_ResidualBlock(spec, joined, width), *_attention_at(spec, level)]
            if level and block == spec.residual_blocks:
                layers.append(_resampling(spec, width, "up"))
            yield _Stage(*layers)
            channels = width


def _skip_channels(spec: NetworkSpec) -> list[int]:
    """Channels after each input stage, in order."""
    widths = [spec.base_channels * multiplier for multiplier in spec.channel_multipliers]
    skips = [widths[0]]
    for level, width in enumerate(widths):
        stages = spec.residual_blocks + (level + 1 < len(widths))
        skips += [width] * stages
    return skips


def _attention_at(spec: NetworkSpec, level: int) -> list[nn.Module]:
    attends = spec.side_px >> level in spec.attention_sides_px
    width = spec.base_channels * spec.channel_multipliers[level]
    return [_Attention(spec, width)] if attends else []


def _resampling(spec: NetworkSpec, channels: int, direction: str) -> nn.Module:
    if spec.resampling == "residual":
        return _ResidualBlock(spec, channels, channels, direction)
    return _Downsample(channels) if direction == "down" else _Upsample(channels)


def _resampled(x: Tensor, direction: str | None) -> Tensor:
    if direction == "down":
        return functional.avg_pool2d(x, 2)
    return functional.interpolate(x, scale_factor=2.0, mode="nearest") if direction == "up" else x


def _zeroed(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
