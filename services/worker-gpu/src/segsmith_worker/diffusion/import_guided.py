"""The authors' checkpoints: guided-diffusion weights, recognised by their names and shapes and loaded strictly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import ValidationError
from torch import Tensor

from segsmith_shared.plans.presets import PICTURE_CHANNELS, PRESETS, NetworkSpec, Preset, PresetOverrideRejected
from segsmith_shared.problems import InvalidInput
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.unet import UNet

HEAD_CHANNELS, NORM_GROUPS = 64, 32
"""guided-diffusion's at 256 px; no parameter's shape tells them."""

_ENTRANCE, _EXIT = "input_blocks.0.0.weight", "out.2"
_SECOND_BLOCK = re.compile(r"output_blocks\.\d+\.[12]\.in_layers\.0\.weight")
_STAGE = re.compile(r"output_blocks\.(\d{1,4})\.")


class CheckpointDoesNotFit(InvalidInput):
    """The weights belong to no network that we know how to build."""

    title = "The checkpoint fits no preset"


@dataclass(frozen=True)
class ToldByName:
    """What a checkpoint's file name says: `ema_0.9999_110000.pt`, `cluster_3_model_110000.pt`, `model200000.pt`."""

    weights: str
    cluster: int | None
    steps: int | None


def told_by_name(file_name: str) -> ToldByName:
    """What the file's name says; weights are raw unless it says `ema`."""
    cluster = re.search(r"cluster_?(\d{1,4})(?!\d)", file_name)
    steps = re.search(r"(\d{2,9})\.\w+$", file_name)
    return ToldByName(
        weights="ema" if re.search(r"(?<![a-z])ema(?![a-z])", file_name.lower()) else "raw",
        cluster=int(cluster[1]) if cluster else None,
        steps=int(steps[1]) if steps else None,
    )


def preset_for(weights: Mapping[str, Tensor], candidates: Mapping[str, Preset] = PRESETS, side_px: int = 256) -> Preset:
    """The preset whose network has exactly these parameters, by name and shape. Raises `CheckpointDoesNotFit`.

    Attention at 16 (2024), at 16 and 8 (2023) or at any other sides, widths and depth are told by the names; where no
    candidate fits, the paper's preset with the network that the names describe, for pictures of `side_px`.
    """
    faults = {name: _difference(weights, preset) for name, preset in candidates.items()}
    for name, fault in faults.items():
        if not fault:
            return candidates[name]
    described = _described(weights, side_px)
    if described is not None and not _difference(weights, described):
        return described
    nearest = min(faults, key=lambda name: len(faults[name]))
    raise CheckpointDoesNotFit(
        f"Nearest is {nearest}, but {len(faults[nearest])} parameters differ, e.g. {faults[nearest][0]}.",
        hint="Give a guided-diffusion checkpoint of a three- or four-channel model with resampling residual blocks.",
    )


def widened(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model of pictures as one of pairs: a label channel that is not read and is predicted as 0.

    Weights of other than three input channels come back as they are. The outputs are ε of all channels, then the
    variance of all channels, so the label's rows go behind each of the two.
    """
    ends = [weights.get(name) for name in (_ENTRANCE, f"{_EXIT}.weight", f"{_EXIT}.bias")]
    entrance, *exits = (torch.empty(0) if tensor is None else tensor for tensor in ends)
    pictures_only = entrance.ndim == 4 and entrance.shape[1] == PICTURE_CHANNELS
    if not pictures_only or any(len(rows.shape) == 0 or len(rows) not in {3, 6} for rows in exits):
        return dict(weights)
    wider = {_ENTRANCE: torch.cat([entrance, torch.zeros_like(entrance[:, :1])], dim=1)}
    for kind, rows in zip(("weight", "bias"), exits, strict=True):
        parts = [torch.cat([part, torch.zeros_like(part[:1])]) for part in torch.split(rows, PICTURE_CHANNELS)]
        wider[f"{_EXIT}.{kind}"] = torch.cat(parts)
    return {**weights, **wider}


def import_guided(weights: Mapping[str, Tensor], device: str = "cpu") -> DiffusionModel:
    """A model from an authors' checkpoint, already read to tensors (`weights_only`, in a process of its own)."""
    return DiffusionModel.from_tensors(preset_for(weights), weights, device)


def _described(weights: Mapping[str, Tensor], side_px: int) -> Preset | None:
    """The paper's preset with the network that the weights' names and shapes describe; None where they describe none.

    Each level but the finest ends in a stage with a second residual block, the one that enlarges.
    """
    levels = 1 + sum(1 for name in weights if _SECOND_BLOCK.fullmatch(name))
    stages = 1 + max((int(found[1]) for name in weights if (found := _STAGE.match(name))), default=-1)
    residual_blocks = stages // levels - 1
    first_stages = [1 + level * (residual_blocks + 1) for level in range(levels)]
    try:
        base = weights["time_embed.0.weight"].shape[1]
        widths = [weights[f"input_blocks.{stage}.0.out_layers.3.weight"].shape[0] for stage in first_stages]
        outputs = weights[f"{_EXIT}.weight"].shape[0]
        attention = tuple(
            side_px >> level for level, s in enumerate(first_stages) if f"input_blocks.{s}.1.qkv.weight" in weights
        )
        network = NetworkSpec(
            side_px=side_px,
            base_channels=base,
            channel_multipliers=tuple(width // base for width in widths),
            residual_blocks=residual_blocks,
            attention_sides_px=attention,
            head_channels=HEAD_CHANNELS,
            norm_groups=NORM_GROUPS,
            resampling="residual",
            dropout=0.0,
        )
        row = PRESETS["paper-256-2024" if attention == (16,) else "paper-256-2023"]
        learned_range = outputs == 2 * network.pair_channels
        return row.with_overrides({"network": network.model_dump(), "diffusion.learned_range": learned_range})
    except (KeyError, IndexError, ZeroDivisionError, ValidationError, PresetOverrideRejected):
        return None


def _difference(weights: Mapping[str, Tensor], preset: Preset) -> list[str]:
    with torch.device("meta"):
        network = UNet(
            preset.network,
            region_channel=preset.training.inpainting_aware,
            learned_range=preset.diffusion.learned_range,
        )
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    names = sorted(wanted.keys() | given.keys())
    return [
        f"{name} ({_shape(given.get(name))} instead of {_shape(wanted.get(name))})"
        for name in names
        if wanted.get(name) != given.get(name)
    ]


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape))
