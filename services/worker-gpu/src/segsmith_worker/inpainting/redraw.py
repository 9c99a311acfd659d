"""From real pairs to synthetic ones: redraw a region, read the label off the mask channel, accept or reject."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from segsmith_shared.plans.presets import PICTURE_CHANNELS, SamplingSpec, samplers_of
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import seed_for
from segsmith_worker.device import to_device
from segsmith_worker.diffusion.labels import channels_of, class_maps_of, largest_class, lesions_of, shows_class
from segsmith_worker.diffusion.memory import halved
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import OnEvaluation
from segsmith_worker.diffusion.training import drawn_channels, signed
from segsmith_worker.inpainting.blended import redraw_blended
from segsmith_worker.inpainting.coarse_to_fine import redraw_coarse_to_fine
from segsmith_worker.inpainting.known_clean import redraw_known_clean
from segsmith_worker.inpainting.langevin import redraw_with_langevin
from segsmith_worker.inpainting.regions import label_cores, opened_classes, redraw_regions
from segsmith_worker.inpainting.repaint import redraw_with_repaint

SAMPLERS = {
    "repaint": redraw_with_repaint,
    "blended": redraw_blended,
    "ancestral_known_clean": redraw_known_clean,
    "coarse_to_fine": redraw_coarse_to_fine,
    "langevin": redraw_with_langevin,
}


class RejectionReason(StrEnum):
    """Why a sampled pair is not kept."""

    NOTHING_TO_REDRAW = "nothing_to_redraw"
    EMPTY_LABEL = "empty_label"
    LABEL_OUTSIDE_REGION = "label_outside_region"


class ModelCannotRedraw(InvalidInput):
    """The model was trained for another way of sampling."""

    title = "The model cannot be sampled in this way"


@dataclass(frozen=True)
class RedrawResult:
    """What became of B sources.

    images uint8 (B, 3, H, W); labels uint8 (B, H, W), class maps; mask_channels float32 (B, F, H, W), as sampled,
    before a class is read off and opened; redraw_regions bool (B, H, W); rejection_reasons, None where the pair is
    accepted.
    """

    images: Tensor
    labels: Tensor
    mask_channels: Tensor
    redraw_regions: Tensor
    rejection_reasons: list[RejectionReason | None]

    @property
    def accepted(self) -> list[bool]:
        return [reason is None for reason in self.rejection_reasons]


def redraw(
    model: DiffusionModel,
    sources: Tensor | None,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
    *,
    clusters: Sequence[int] | None = None,
    labels: Tensor | None = None,
    on_smaller_batch: Callable[[int], None] | None = None,
) -> RedrawResult:
    """Make one pair per source uint8 (B, 3 + F, H, W), for any B; `sources` may be None for `full`.

    Works in batches of exactly `spec.batch`, the last one filled up with repeats that are dropped again: so a pair is
    bit-equal whatever its neighbours, order and worker, on the same thread count. Where memory does not suffice, the
    batch halves, `on_smaller_batch` is told, and the samples are the same up to rounding. `on_evaluation` counts within
    each batch; what it raises ends the run. `clusters`, one per source, is told to a model that was trained to be told.
    `labels`, class maps uint8 (B, H, W), are those to draw to where `spec.label` says that they are given; the sources'
    own are. Raises `ModelCannotRedraw`, `OutOfDeviceMemory`.
    """
    _check_model(model, spec)
    model = model.computing_in(spec.precision)
    if sources is None:
        sources = torch.zeros(len(seeds), model.pair_channels, model.side_px, model.side_px, dtype=torch.uint8)
    _check_sources(model, sources, seeds)
    given = _given_labels(model, sources, labels, spec)
    parts: list[RedrawResult] = []
    start, at_once = 0, spec.batch
    while start < len(seeds):
        chosen = [min(at, len(seeds) - 1) for at in range(start, start + at_once)]
        told = model if clusters is None else model.told_clusters([clusters[at] for at in chosen], spec.guidance)
        part = _redraw_batch(
            told,
            sources[chosen],
            None if given is None else given[chosen],
            [seeds[at] for at in chosen],
            len(seeds) - start,
            spec,
            on_evaluation,
        )
        if part is None:
            at_once = halved(at_once, "sampling")
            if on_smaller_batch is not None:
                on_smaller_batch(at_once)
            continue
        parts.append(part)
        start += at_once
    return _joined(parts)


def choose_cluster(
    seed: int, source: int, sample: int, own_cluster: int, cluster_count: int, spec: SamplingSpec
) -> int:
    """Which cluster's model redraws this sample: the source's own, or any of all k with equal chance (paper, §2.4)."""
    if spec.cluster_choice == "own":
        return own_cluster
    return seed_for(seed, "cluster-choice", source, sample) % cluster_count


def _redraw_batch(
    model: DiffusionModel,
    sources: Tensor,
    given: Tensor | None,
    seeds: list[int],
    count: int,
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None,
) -> RedrawResult | None:
    """The first `count` pairs of one batch; None where the device's memory does not hold it."""
    classes = model.preset.network.classes
    known_labels = class_maps_of(sources) if given is None else given
    lesions = lesions_of(sources) if given is None else lesions_of(sources) | shows_class(given)
    regions = torch.from_numpy(redraw_regions(lesions.numpy(), spec))
    sampler = SAMPLERS[spec.sampler]
    region = to_device(_region_of_channels(regions, known_labels, classes, spec), model.device)
    known = signed(to_device(sources, model.device))
    if given is not None:
        known[:, PICTURE_CHANNELS:] = channels_of(to_device(given, model.device), classes)
    try:
        drawn = sampler(model, known, region, seeds, spec, on_evaluation)
    except torch.OutOfMemoryError:
        return None
    if region.shape[1] > 1:  # whatever the sampler ends with, what is known of the label stays
        labels = torch.where(region == 1, drawn, known)[:, PICTURE_CHANNELS:]
        drawn = torch.cat([drawn[:, :PICTURE_CHANNELS], labels], dim=1)
    drawn = drawn.cpu()[:count]
    colours, mask_channels = drawn[:, :PICTURE_CHANNELS], drawn[:, PICTURE_CHANNELS:].clone()
    if spec.colour == "grey":
        colours = colours.mean(dim=1, keepdim=True).expand_as(colours)
    images = ((colours.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    labels = largest_class(mask_channels)
    if given is None:  # a given label is a label already: nothing to clean
        labels = torch.from_numpy(np.stack([opened_classes(class_map, spec) for class_map in labels.numpy()]))
    regions, known_labels, sources = regions[:count], known_labels[:count], sources[:count]
    if spec.paste_known:
        images = torch.where(regions[:, None], images, sources[:, :PICTURE_CHANNELS])
        labels = torch.where(regions, labels, known_labels)
    reasons = [_rejection(shows_class(label), region, spec) for label, region in zip(labels, regions, strict=True)]
    return RedrawResult(images, labels, mask_channels, regions, reasons)


def _given_labels(model: DiffusionModel, sources: Tensor, labels: Tensor | None, spec: SamplingSpec) -> Tensor | None:
    """Class maps (B, H, W), or None where labels are drawn with the picture."""
    if (labels is not None) != (spec.label == "exchanged"):
        raise ValueError(f"labels are given where spec.label is exchanged, and it is {spec.label}")
    classes = model.preset.network.classes
    if labels is not None and (labels.dtype != torch.uint8 or bool((shows_class(labels) & (labels > classes)).any())):
        raise ValueError(f"labels must be class maps, uint8 of 0 to {classes}, or IGNORE")
    if spec.label == "drawn":
        return None
    return class_maps_of(sources) if labels is None else labels


def _region_of_channels(regions: Tensor, known_labels: Tensor, classes: int, spec: SamplingSpec) -> Tensor:
    """What is redrawn, (B, 1, H, W); (B, 3 + F, H, W) where the label is known: whole, or in the lesions' cores."""
    region = regions[:, None].float()
    if spec.label != "drawn":
        return drawn_channels(region, torch.ones(len(region), dtype=torch.bool), classes)
    if spec.label_core == 0:
        return region
    # in a core all classes are known: the one that it is of, and that it is of no other
    cores = np.stack([label_cores(class_map, spec.label_core) for class_map in known_labels.numpy()])
    of_label = region * torch.from_numpy(~cores)[:, None]
    return torch.cat([region.expand(-1, PICTURE_CHANNELS, -1, -1), of_label.expand(-1, classes, -1, -1)], dim=1)


def _rejection(label: Tensor, region: Tensor, spec: SamplingSpec) -> RejectionReason | None:
    if not region.any():
        return RejectionReason.NOTHING_TO_REDRAW
    if not label.any():
        return RejectionReason.EMPTY_LABEL
    if spec.redraw == "lesion" and not (label & region).any():
        return RejectionReason.LABEL_OUTSIDE_REGION
    return None


def _joined(parts: list[RedrawResult]) -> RedrawResult:
    return RedrawResult(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.mask_channels for part in parts]),
        torch.cat([part.redraw_regions for part in parts]),
        [reason for part in parts for reason in part.rejection_reasons],
    )


def _check_model(model: DiffusionModel, spec: SamplingSpec) -> None:
    training = model.preset.training
    if spec.sampler not in samplers_of(training):
        wanted = " or ".join(samplers_of(training))
        raise ModelCannotRedraw(f"The model was trained for {wanted}, not {spec.sampler}.", hint=f"Choose {wanted}.")
    if spec.label_core and training.inpainting_aware:
        raise ModelCannotRedraw("The model learned to redraw whole regions.", hint="Set label_core to 0.")
    share = {"background": training.region_background_share, "full": training.region_full_share}.get(spec.redraw, 1.0)
    if training.inpainting_aware and share == 0:
        raise ModelCannotRedraw(
            f"The model never saw a {spec.redraw} region in training.",
            hint=f"Train with region_{spec.redraw}_share above 0.",
        )
    if training.inpainting_aware and spec.label != "drawn" and training.label_given_share == 0:
        raise ModelCannotRedraw(
            "The model never saw a given label in training.", hint="Train with label_given_share above 0."
        )


def _check_sources(model: DiffusionModel, sources: Tensor, seeds: Sequence[int]) -> None:
    shape = (len(seeds), model.pair_channels, model.side_px, model.side_px)
    if not seeds or sources.dtype != torch.uint8 or tuple(sources.shape) != shape:
        raise ValueError(f"sources must be uint8 {shape}, one per seed, not {sources.dtype} {tuple(sources.shape)}")
