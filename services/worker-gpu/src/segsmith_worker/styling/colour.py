"""Colour matching: the linear map between two RGB Gaussians that moves colours least (Pitié and Kokaram 2007)."""

from typing import Literal

import torch
from torch import Tensor

_SMALLEST_VARIANCE = 1e-6  # about that of rounding to bytes: below it, a direction of colour holds nothing to stretch


def mapped_colours(pictures: Tensor, targets: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) with the mean and covariance of their targets' colours (B, 3, h, w), range unbounded.

    y = A(x − μ) + μ′ with the Monge–Kantorovich A = Σ^−½ (Σ^½ Σ′ Σ^½)^½ Σ^−½.
    """
    colours, wanted = pictures.flatten(2).double(), targets.flatten(2).double()
    moved = _transport(_covariance(colours), _covariance(wanted)) @ (colours - colours.mean(dim=2, keepdim=True))
    return (moved + wanted.mean(dim=2, keepdim=True)).reshape(pictures.shape).to(pictures.dtype)


def within_unit_range(pictures: Tensor, how: Literal["clip", "stretch"]) -> Tensor:
    """Pictures (B, 3, H, W) in 0..1: cut off, or each stretched so that its darkest value is 0 and its brightest 1."""
    if how == "clip":
        return pictures.clamp(0, 1)
    darkest, brightest = pictures.amin(dim=(1, 2, 3), keepdim=True), pictures.amax(dim=(1, 2, 3), keepdim=True)
    return ((pictures - darkest) / (brightest - darkest).clamp_min(_SMALLEST_VARIANCE)).clamp(0, 1)


def _covariance(colours: Tensor) -> Tensor:
    """(B, 3, n) → (B, 3, 3)."""
    centred = colours - colours.mean(dim=2, keepdim=True)
    return centred @ centred.mT / colours.shape[2]


def _transport(covariance: Tensor, wanted: Tensor) -> Tensor:
    """A (B, 3, 3), symmetric, with A Σ A = Σ′."""
    values, vectors = torch.linalg.eigh(covariance)
    deviations = values.clamp_min(_SMALLEST_VARIANCE).sqrt()[:, None]
    root, inverse_root = (vectors * deviations) @ vectors.mT, (vectors / deviations) @ vectors.mT
    values, vectors = torch.linalg.eigh(root @ wanted @ root)
    between = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    transport: Tensor = inverse_root @ between @ inverse_root
    return transport
