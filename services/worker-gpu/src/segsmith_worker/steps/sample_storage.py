"""A batch of redrawn pairs becomes objects: image, label, region, source, and two pictures for people."""

from dataclasses import dataclass

from segsmith_shared.pairs.contact_sheet import overlay
from segsmith_shared.pairs.intake import jpeg_bytes, label_png_bytes, png_bytes, thumbnail_of
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import images_of, labels_of
from segsmith_worker.inpainting.redraw import RedrawResult


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


def store_samples(objects: ObjectStore, sources: ByteArray, result: RedrawResult) -> list[StoredSample]:
    """Store what became of `sources`, uint8 (n, 4, H, W) as the model saw them."""
    images = result.images.permute(0, 2, 3, 1).contiguous().numpy()
    contents: list[bytes] = []
    for image, label, region, source, source_label in zip(
        images,
        result.labels.numpy(),
        result.redraw_regions.numpy(),
        images_of(sources),
        labels_of(sources),
        strict=True,
    ):
        contents += [
            png_bytes(image),
            label_png_bytes(label),
            label_png_bytes(region),
            png_bytes(source),
            label_png_bytes(source_label),
            jpeg_bytes(thumbnail_of(image)),
            jpeg_bytes(overlay(image, label, region)),
        ]
    digests = objects.put_many(contents)
    return [StoredSample(*digests[start : start + 7]) for start in range(0, len(digests), 7)]
