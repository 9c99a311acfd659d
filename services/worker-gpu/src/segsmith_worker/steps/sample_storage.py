"""A batch of synthetic pairs becomes objects: image, label, region, source, and two pictures for people."""

from dataclasses import dataclass

from segsmith_shared.pairs.contact_sheet import overlay
from segsmith_shared.pairs.pair import BoolArray, ByteArray
from segsmith_shared.pairs.png_files import (
    image_png_bytes,
    jpeg_bytes,
    label_png_bytes,
    stored_label_bytes,
    thumbnail_of,
)
from segsmith_shared.storage.objects import ObjectStore


@dataclass(frozen=True)
class DrawnPairs:
    """What was drawn and from what: images uint8 (n, H, W, 3), class maps uint8 (n, H, W), regions bool (n, H, W)."""

    images: ByteArray
    labels: ByteArray
    regions: BoolArray
    sources: ByteArray
    source_labels: ByteArray


@dataclass(frozen=True)
class StoredSample:
    """Digests of one sample's objects."""

    image: str
    label: str
    region: str
    source: str
    source_label: str
    thumbnail: str
    overlay: str


def store_samples(objects: ObjectStore, drawn: DrawnPairs, classes: int = 1) -> list[StoredSample]:
    """Store every picture of the batch, in its order, labels as a version with so many classes has them."""
    contents: list[bytes] = []
    parts = (drawn.images, drawn.labels, drawn.regions, drawn.sources, drawn.source_labels)
    for image, label, region, source, source_label in zip(*parts, strict=True):
        contents += [
            image_png_bytes(image),
            stored_label_bytes(label, classes),
            label_png_bytes(region),
            image_png_bytes(source),
            stored_label_bytes(source_label, classes),
            jpeg_bytes(thumbnail_of(image)),
            jpeg_bytes(overlay(image, label, region)),
        ]
    digests = objects.put_many(contents)
    return [StoredSample(*digests[start : start + 7]) for start in range(0, len(digests), 7)]
