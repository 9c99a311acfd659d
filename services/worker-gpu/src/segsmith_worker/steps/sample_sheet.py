"""A contact sheet of redrawn pairs: source with label and region, sample, sample with its label."""

from PIL import Image
from torch import Tensor

from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of
from segsmith_worker.inpainting.redraw import RedrawResult

CELL_PX = 128


def sample_sheet(sources: Tensor, result: RedrawResult) -> bytes:
    """PNG; one column per sample. `sources` uint8 (B, 3 + F, H, W)."""
    squares = sources.numpy()
    images = [enlarged(Image.fromarray(image), CELL_PX) for image in images_of(squares)]
    samples = [enlarged(Image.fromarray(image), CELL_PX) for image in images_of(result.images.numpy())]
    labels, regions = result.labels.numpy(), result.redraw_regions.numpy()
    return sheet(
        [
            [overlay(*each) for each in zip(images, class_maps_of(squares), regions, strict=True)],
            samples,
            [overlay(sample, label) for sample, label in zip(samples, labels, strict=True)],
        ],
        captions=["source, its label, redraw region", "sample", "sample, its label"],
        cell_px=CELL_PX,
    )
