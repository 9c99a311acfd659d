"""Contact sheets as PNG files: source with label and region, sample (before and after styling), and its label."""

import io
from collections.abc import Sequence

from PIL import Image

from segsmith_evaluator.report.pictures import SampleGroup
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet

CELL_PX = 192
_ABREAST = 2
_HEADINGS = ("source: label, redraw region", "sample", "sample and its label")
_STYLED_HEADINGS = (
    "source (target): label, redraw region",
    "before styling (content)",
    "styled",
    "styled and its label",
)


def sheet_png(groups: Sequence[SampleGroup]) -> bytes:
    """All groups as one PNG with a caption under each row; small pictures are enlarged with crisp pixels."""
    lines = [groups[start : start + _ABREAST] for start in range(0, len(groups), _ABREAST)]
    rows = [[tile for group in line for tile in _tiles(group)] for line in lines]
    captions = ["   |   ".join(_caption(group) for group in line) for line in lines]
    headings = _STYLED_HEADINGS if any(group.content is not None for group in groups) else _HEADINGS
    return sheet(rows, captions, headings * min(_ABREAST, len(groups)), cell_px=CELL_PX)


def png_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_bytes(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _tiles(group: SampleGroup) -> list[Image.Image]:
    """Enlarged first, so that outlines are thinner than the pictures' pixels."""
    source, sample = (_large(Image.fromarray(picture)) for picture in (group.source, group.sample))
    before = [] if group.content is None else [_large(Image.fromarray(group.content))]
    with_region = overlay(source, group.source_label, group.redraw_region)
    return [with_region, *before, sample, overlay(sample, group.sample_label)]


def _large(picture: Image.Image) -> Image.Image:
    return enlarged(picture, CELL_PX) if max(picture.size) < CELL_PX else picture


def _caption(group: SampleGroup) -> str:
    return group.caption if group.rejection is None else f"{group.caption}, rejected: {group.rejection}"
