"""From inpainted pairs to styled ones: guided, read back, coloured like their sources, and measured for drift."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from segsmith_shared.plans.presets import PICTURE_CHANNELS
from segsmith_shared.plans.styling import StylingSpec, check_styling
from segsmith_worker.diffusion.labels import class_maps_of, largest_class, shows_class
from segsmith_worker.diffusion.memory import halved
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import signed
from segsmith_worker.inpainting.regions import opened_classes
from segsmith_worker.styling.colour import mapped_colours, within_unit_range
from segsmith_worker.styling.guidance import OnStep, StyleBatch, StyleStep, Towers, restyled


@dataclass(frozen=True)
class StyleResult:
    """What became of B samples.

    images uint8 (B, 3, H, W); labels uint8 (B, H, W), class maps, inpainted or styled as the spec says; mask_channels
    float32 (B, F, H, W), as styled; label_drift float32 (B,): Dice of the label read off them with the inpainted one,
    1 where nothing moved.
    """

    images: Tensor
    labels: Tensor
    mask_channels: Tensor
    label_drift: Tensor


def style(
    model: DiffusionModel,
    towers: Towers,
    contents: Tensor,
    targets: Tensor,
    regions: Tensor,
    seeds: Sequence[int],
    spec: StylingSpec,
    on_step: OnStep | None = None,
    *,
    clusters: Sequence[int] | None = None,
    on_smaller_batch: Callable[[int], None] | None = None,
) -> StyleResult:
    """Style inpainted pairs uint8 (B, 3 + F, H, W) after real pictures uint8 (B, 3, H, W), for any B.

    `regions` bool (B, H, W) are the redraw regions of the inpainting. A model without a region input draws the whole
    picture anew, as published. An inpainting-aware one has learned to draw inside a region beside clean pixels, so it
    is guided inside the redraw region, the content staying as it is around it (only its colours are matched); it draws
    whole pictures, `extent: picture`, if it was trained on whole-picture regions.

    Works in batches of exactly `spec.batch`, as redrawing does, and every sample depends on its own seed. Raises
    `ModelCannotStyle` and `StylingDiverged`. `on_step` counts within each batch; what it raises ends the run.
    `clusters`, one per sample, is told to a model that was trained to be told. Where memory does not suffice, the batch
    halves and `on_smaller_batch` is told; raises `OutOfDeviceMemory` where one at a time is too many.
    """
    check_styling(spec, model.preset)
    _check_inputs(model, contents, targets, regions, seeds)
    parts: list[StyleResult] = []
    start, at_once = 0, spec.batch
    while start < len(seeds):
        chosen = [min(at, len(seeds) - 1) for at in range(start, start + at_once)]
        count = min(at_once, len(seeds) - start)
        told = model if clusters is None else model.told_clusters([clusters[at] for at in chosen], guidance=1.0)
        batch = _batch_of(
            told, towers, contents[chosen], targets[chosen], regions[chosen], [seeds[at] for at in chosen], spec
        )
        styled = _styled_if_it_fits(batch, _of_first(count, on_step))
        if styled is None:
            at_once = halved(at_once, "styling")
            if on_smaller_batch is not None:
                on_smaller_batch(at_once)
            continue
        styled = styled[:count]
        real = slice(start, start + count)
        parts.append(_read(styled, contents[real], targets[real], regions[real], spec))
        start += at_once
    return _joined(parts)


def _styled_if_it_fits(batch: StyleBatch, on_step: OnStep | None) -> Tensor | None:
    """None where the device's memory does not hold the batch."""
    try:
        return restyled(batch, on_step).cpu()
    except torch.OutOfMemoryError:
        return None


def _batch_of(
    model: DiffusionModel,
    towers: Towers,
    contents: Tensor,
    targets: Tensor,
    regions: Tensor,
    seeds: Sequence[int],
    spec: StylingSpec,
) -> StyleBatch:
    region = regions[:, None].float().to(model.device)
    aware = model.preset.training.inpainting_aware
    inside = spec.extent == "region" or (spec.extent == "auto" and aware)
    return StyleBatch(
        model=model,
        towers=towers,
        content=signed(contents).to(model.device),
        target=signed(targets).to(model.device),
        redraw_region=region,
        drawn=region if inside else torch.ones_like(region),
        seeds=seeds,
        spec=spec,
    )


def _of_first(count: int, on_step: OnStep | None) -> OnStep | None:
    """The callback, told of the first `count` samples only: the others fill up the batch."""
    if on_step is None:
        return None

    def told(step: StyleStep) -> None:
        on_step(replace(step, terms={name: values[:count] for name, values in step.terms.items()}))

    return told


def _read(styled: Tensor, contents: Tensor, targets: Tensor, regions: Tensor, spec: StylingSpec) -> StyleResult:
    """Bytes and labels from x₀ (B, 3 + F, H, W) in −1..1."""
    pictures = (styled[:, :PICTURE_CHANNELS].clamp(-1, 1) + 1) / 2
    if spec.colour_matching == "mkl":
        pictures = within_unit_range(mapped_colours(pictures, targets.float() / 255), spec.colour_range)
    if spec.colour == "grey":
        pictures = pictures.mean(dim=1, keepdim=True).expand_as(pictures)
    images = (pictures * 255).round().to(torch.uint8)
    if spec.paste_known:
        images = torch.where(regions[:, None], images, contents[:, :PICTURE_CHANNELS])
    mask_channels = styled[:, PICTURE_CHANNELS:].clone()
    as_styled, inpainted = largest_class(mask_channels), class_maps_of(contents)
    labels = inpainted
    if spec.label == "styled":
        labels = torch.from_numpy(np.stack([opened_classes(class_map, spec) for class_map in as_styled.numpy()]))
        labels = torch.where(regions, labels, inpainted) if spec.paste_known else labels
    return StyleResult(images, labels, mask_channels, label_dice(as_styled, inpainted))


def label_dice(labels: Tensor, others: Tensor) -> Tensor:
    """Dice of class maps (B, H, W) with others, over all classes together, float32 (B,); 1 where both are empty."""
    shared = ((labels == others) & shows_class(labels)).sum(dim=(1, 2))
    total = shows_class(labels).sum(dim=(1, 2)) + shows_class(others).sum(dim=(1, 2))
    return torch.where(total == 0, 1.0, 2 * shared / total.clamp_min(1))


def _joined(parts: list[StyleResult]) -> StyleResult:
    return StyleResult(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.mask_channels for part in parts]),
        torch.cat([part.label_drift for part in parts]),
    )


def _check_inputs(
    model: DiffusionModel, contents: Tensor, targets: Tensor, regions: Tensor, seeds: Sequence[int]
) -> None:
    count, side_px = len(seeds), model.side_px
    for name, values, dtype, shape in (
        ("contents", contents, torch.uint8, (count, model.pair_channels, side_px, side_px)),
        ("targets", targets, torch.uint8, (count, PICTURE_CHANNELS, side_px, side_px)),
        ("regions", regions, torch.bool, (count, side_px, side_px)),
    ):
        if not count or values.dtype != dtype or tuple(values.shape) != shape:
            raise ValueError(f"{name} must be {dtype} {shape}, one per seed, not {values.dtype} {tuple(values.shape)}")
