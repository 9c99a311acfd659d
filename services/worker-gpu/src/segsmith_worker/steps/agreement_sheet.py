"""The pairs that judges agree with least, as one picture: what the gate drops is to be looked at."""

from collections.abc import Iterator, Sequence

from PIL import Image

from segsmith_shared.database.tables import Sample
from segsmith_shared.pairs.agreement import PairAgreement
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import read_image, read_label

LOWEST = 12
CELL_PX = 160
HEADINGS = ("sample", "label green, judge blue", "source and its label")
HEADINGS_OF_CLASSES = ("sample", "its label", "what the judge sees", "source and its label")


def name_of_sheet(label: str) -> str:
    """The artifact that shows a set's samples with the lowest agreement."""
    return f"agreement-{label}.png"


def agreement_sheet(
    objects: ObjectStore,
    lowest_first: Sequence[tuple[Sample, PairAgreement, ByteArray]],
    threshold: float | None,
    classes: int = 1,
) -> bytes:
    """A PNG of the first twelve; a prediction is a class map uint8 (h, w) at the judge's side.

    Where labels tell classes apart, the label's colours and the judge's have a tile each.
    """
    shown = lowest_first[:LOWEST]
    rows = [list(_tiles(objects, sample, prediction, classes)) for sample, _, prediction in shown]
    headings = HEADINGS if classes == 1 else HEADINGS_OF_CLASSES
    return sheet(rows, [_caption(found, threshold) for _, found, _ in shown], headings, cell_px=CELL_PX)


def _tiles(objects: ObjectStore, sample: Sample, prediction: ByteArray, classes: int) -> Iterator[Image.Image]:
    digests = (sample.image_digest, sample.label_digest, sample.source_digest, sample.source_label_digest)
    image, label, source, source_label = objects.get_many(digests)
    picture = _large(read_image(image))
    yield picture
    if classes == 1:
        yield overlay(picture, read_label(label), prediction > 0)
    else:
        yield overlay(picture, read_label(label, classes))
        yield overlay(picture, prediction)
    yield overlay(_large(read_image(source)), read_label(source_label, classes))


def _large(image: ByteArray) -> Image.Image:
    """Enlarged first, so that outlines are thinner than the picture's pixels."""
    picture = Image.fromarray(image)
    return enlarged(picture, CELL_PX) if max(picture.size) < CELL_PX else picture


def _caption(found: PairAgreement, threshold: float | None) -> str:
    dropped = ", dropped" if threshold is not None and found.dice < threshold else ""
    return f"{found.name}: Dice {found.dice:.2f}, IoU {found.iou:.2f}{dropped}"
