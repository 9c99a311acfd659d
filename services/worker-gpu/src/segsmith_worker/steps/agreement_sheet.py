"""The pairs that judges agree with least, as one picture: what the gate drops is to be looked at."""

from collections.abc import Iterator, Sequence

from PIL import Image

from segsmith_shared.database.tables import Sample
from segsmith_shared.pairs.agreement import PairAgreement
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet
from segsmith_shared.pairs.pair import BoolArray, ByteArray
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import read_image, read_label

LOWEST = 12
CELL_PX = 160
HEADINGS = ("sample", "label green, judge blue", "source and its label")


def name_of_sheet(label: str) -> str:
    """The artifact that shows a set's samples with the lowest agreement."""
    return f"agreement-{label}.png"


def agreement_sheet(
    objects: ObjectStore, lowest_first: Sequence[tuple[Sample, PairAgreement, BoolArray]], threshold: float | None
) -> bytes:
    """A PNG of the first twelve; a prediction is bool (h, w) at the judge's side."""
    shown = lowest_first[:LOWEST]
    rows = [list(_tiles(objects, sample, prediction)) for sample, _, prediction in shown]
    return sheet(rows, [_caption(found, threshold) for _, found, _ in shown], HEADINGS, cell_px=CELL_PX)


def _tiles(objects: ObjectStore, sample: Sample, prediction: BoolArray) -> Iterator[Image.Image]:
    digests = (sample.image_digest, sample.label_digest, sample.source_digest, sample.source_label_digest)
    image, label, source, source_label = objects.get_many(digests)
    picture = _large(read_image(image))
    yield picture
    yield overlay(picture, read_label(label), prediction)
    yield overlay(_large(read_image(source)), read_label(source_label))


def _large(image: ByteArray) -> Image.Image:
    """Enlarged first, so that outlines are thinner than the picture's pixels."""
    picture = Image.fromarray(image)
    return enlarged(picture, CELL_PX) if max(picture.size) < CELL_PX else picture


def _caption(found: PairAgreement, threshold: float | None) -> str:
    dropped = ", dropped" if threshold is not None and found.dice < threshold else ""
    return f"{found.name}: Dice {found.dice:.2f}, IoU {found.iou:.2f}{dropped}"
