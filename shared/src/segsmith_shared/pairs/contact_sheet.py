"""Pictures people judge a dataset by: labels outlined on their images, and sheets of many with captions."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from segsmith_shared.pairs.lesions import class_numbers
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray

CLASS_COLOURS = (
    (64, 255, 96),  # green and cyan are what mucosa never is
    (255, 240, 64),
    (80, 112, 255),
    (255, 80, 255),
    (255, 255, 255),
    (255, 144, 0),
    (160, 64, 255),
    (0, 160, 128),
)
"""Outlines of the classes 1 … 8; the first is also that of labels that tell none apart."""

LABEL_COLOUR = CLASS_COLOURS[0]
IGNORED_COLOUR = (160, 160, 160)
REGION_COLOUR = (64, 208, 255)
_PAPER = (250, 250, 250)
_INK = (32, 32, 32)
_GAP_PX = 4
_CAPTION_PX = 16


def class_colour(number: int) -> str:
    """The colour of class 1 … 8 as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*CLASS_COLOURS[number - 1])


def overlay(
    image: ByteArray | Image.Image, label: BoolArray | ByteArray, region: BoolArray | None = None
) -> Image.Image:
    """An image, uint8 (H, W, 3) or RGB picture, with its label's outline, and a redraw region's in another colour.

    The label is bool (h, w), or a class map uint8 (h, w) whose classes each have a colour of `CLASS_COLOURS`. Label
    and region (h, w) may have another size: they are brought to the image's by nearest neighbour. Outlines lie just
    outside of what they enclose, so that the lesion itself stays visible. Where nothing is known it is hatched grey.
    """
    picture = image.copy() if isinstance(image, Image.Image) else Image.fromarray(image)
    if region is not None:
        picture.paste(REGION_COLOUR, mask=_outline(region, picture.size))
    if label.dtype != np.bool_ and (label == IGNORE).any():
        picture.paste(IGNORED_COLOUR, mask=_hatching(np.asarray(label == IGNORE), picture.size))
    for number in class_numbers(label):
        picture.paste(CLASS_COLOURS[number - 1], mask=_outline(np.asarray(label == number), picture.size))
    return picture


def _hatching(area: BoolArray, size: tuple[int, int]) -> Image.Image:
    """Diagonal lines over an area bool (h, w), as a mask of the picture's size (width, height)."""
    inside = Image.fromarray(area * np.uint8(255)).resize(size, Image.Resampling.NEAREST)
    spacing_px = max(4, round(max(size) / 64))
    across, down = np.arange(size[0])[None], np.arange(size[1])[:, None]
    lines = Image.fromarray(((across + down) % spacing_px < max(1, spacing_px // 4)) * np.uint8(255))
    return ImageChops.darker(inside, lines)


def _outline(area: BoolArray, size: tuple[int, int]) -> Image.Image:
    inside = Image.fromarray(area * np.uint8(255))
    if inside.size != size:
        inside = inside.resize(size, Image.Resampling.NEAREST)
    thickness_px = max(1, round(max(size) / 256))
    grown = inside.filter(ImageFilter.MaxFilter(2 * thickness_px + 1))
    return ImageChops.difference(grown, inside)


def enlarged(picture: Image.Image, side_px: int) -> Image.Image:
    """A small picture scaled up to a longest side of `side_px` without smoothing, so that its real pixels show."""
    scale = side_px / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.NEAREST)


def sheet(
    rows: Sequence[Sequence[Image.Image]],
    captions: Sequence[str] = (),
    headings: Sequence[str] = (),
    cell_px: int = 160,
) -> bytes:
    """A PNG of pictures in rows, a caption under each row and a heading over each column.

    Every picture is brought into a cell of `cell_px`: reduced smoothly, or enlarged by showing its pixels.
    """
    columns = max((len(row) for row in rows), default=1)
    head_px = _CAPTION_PX if headings else 0
    row_px = cell_px + _GAP_PX + (_CAPTION_PX if captions else 0)
    width_px = _GAP_PX + columns * (cell_px + _GAP_PX)
    paper = Image.new("RGB", (width_px, head_px + _GAP_PX + len(rows) * row_px), _PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(11)
    for column, heading in enumerate(headings[:columns]):
        pen.text((_GAP_PX + column * (cell_px + _GAP_PX), 2), heading, _INK, font)
    for index, row in enumerate(rows):
        top = head_px + _GAP_PX + index * row_px
        for column, picture in enumerate(row):
            cell = _in_cell(picture, cell_px)
            left = _GAP_PX + column * (cell_px + _GAP_PX)
            paper.paste(cell, (left + (cell_px - cell.width) // 2, top + (cell_px - cell.height) // 2))
        pen.text((_GAP_PX, top + cell_px), captions[index] if index < len(captions) else "", _INK, font)
    stream = BytesIO()
    paper.save(stream, "PNG")
    return stream.getvalue()


def _in_cell(picture: Image.Image, cell_px: int) -> Image.Image:
    picture = picture.convert("RGB")
    if max(picture.size) < cell_px:
        return enlarged(picture, cell_px)
    picture.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
    return picture
