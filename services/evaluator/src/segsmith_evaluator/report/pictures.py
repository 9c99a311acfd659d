"""The pictures of a report before anything is drawn on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class SampleGroup:
    """A source as the model saw it and what was drawn from it: images uint8 (H, W, 3), region bool (H, W).

    Labels are class maps uint8 (H, W), or bool where there is one class.
    `content` is the sample before it was styled, None for one that was not.
    """

    source: ByteArray
    source_label: BoolArray | ByteArray
    redraw_region: BoolArray
    sample: ByteArray
    sample_label: BoolArray | ByteArray
    caption: str
    rejection: str | None = None
    content: ByteArray | None = None


@dataclass(frozen=True)
class SetPictures:
    """Groups of one set, picked by seed and not by eye: accepted ones, then rejected ones."""

    label: str
    accepted: tuple[SampleGroup, ...]
    rejected: tuple[SampleGroup, ...] = ()


@dataclass(frozen=True)
class ClusterPictures:
    """Some thumbnails (JPEG bytes) of one cluster's pairs."""

    cluster: int
    thumbnails: tuple[bytes, ...]


@dataclass(frozen=True)
class Pictures:
    """All of a report; `clusters` are in the order of the facts' clusterings, sheets are JPEG by set label."""

    sets: tuple[SetPictures, ...] = ()
    clusters: tuple[tuple[ClusterPictures, ...], ...] = field(default=())
    copy_sheets: Mapping[str, bytes] = field(default_factory=dict)
    agreement_sheets: Mapping[str, bytes] = field(default_factory=dict)
