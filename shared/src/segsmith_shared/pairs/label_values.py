"""What a label file shows: its pixels as grey values, palette indices or colours, whatever way it was saved."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from segsmith_shared.pairs.bad_pictures import UnsupportedPixels
from segsmith_shared.pairs.intake import OpenedPicture, as_rgb, integers
from segsmith_shared.pairs.pair import ByteArray

Values = NDArray[np.int32] | ByteArray
Coding = Literal["grey", "palette", "colour"]

VOC_VOID = 255
"""The palette index (and the value beside classes) by which Pascal VOC and its followers mean unknown."""

BLACK_UP_TO = 40  # Euclidean, of levels 0..255: what JPEG leaves inside of an area
_GREY_SPREAD = 64  # JPEG's chroma noise on a grey label
_FEW_COLOURS = 16


@dataclass(frozen=True)
class LabelPixels:
    """A label file's pixels. `values` (H, W): grey values, palette indices, or each colour's strongest channel.

    `colours` uint8 (H, W, 3) only where `coding` is colour. `background`: the value that no lesion has. `exact`: equal
    values mean the same, no compression changed them.
    """

    coding: Coding
    values: Values
    exact: bool
    colours: ByteArray | None = None
    background: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def deep(self) -> bool:
        """Whether the values use more than 8 bits."""
        return int(self.values.max()) > 255

    @property
    def levels(self) -> ByteArray:
        """The values as levels 0..255, (H, W): those of 16 bits by their own range."""
        if self.deep:
            return np.asarray(self.values // 257, np.uint8)
        return np.asarray(self.values, np.uint8)


def label_pixels(opened: OpenedPicture) -> LabelPixels:
    """The pixels of a label file of any mode. Raises UnsupportedPixels."""
    picture, exact = opened.picture, opened.exact
    if picture.mode.startswith("I"):
        return LabelPixels("grey", integers(picture), exact)
    if picture.mode in {"F", "LAB"}:
        raise UnsupportedPixels(f"label of mode {picture.mode}")
    if picture.mode == "L" and "transparency" not in picture.info:
        return LabelPixels("grey", np.asarray(picture), exact)
    if picture.mode == "1":
        return LabelPixels("grey", np.asarray(picture.convert("L")), exact)
    if picture.mode == "P":
        return _of_palette(picture, exact)
    return _of_colours(picture, exact)


def index_pixels(opened: OpenedPicture) -> LabelPixels:
    """The indices of a palette file, also of one whose palette is grey."""
    return LabelPixels("palette", np.asarray(opened.picture), opened.exact)


def shown_pixels(opened: OpenedPicture) -> LabelPixels:
    """The pixels as they look, of palette files too. Raises UnsupportedPixels."""
    return _of_colours(opened.picture, opened.exact) if opened.picture.mode == "P" else label_pixels(opened)


def _of_palette(picture: Image.Image, exact: bool) -> LabelPixels:
    """By index, because colours of a palette are arbitrary; by brightness where all colours in use are grey.

    Tools that only save space turn a black and white picture into a palette of whichever order.
    """
    indices = np.asarray(picture)
    palette = _palette_on_black(picture)
    used = palette[np.unique(indices)]
    if len(np.unique(used, axis=0)) == 1 and len(used) > 1:
        return LabelPixels("palette", indices, exact)  # one colour for all: only the indices say what is lesion
    if (used == used[:, :1]).all():
        return LabelPixels("grey", palette[indices][..., 0], exact)
    black = [index for index in np.unique(indices).tolist() if not palette[index].any()]
    return LabelPixels("palette", indices, exact, background=black[0] if len(black) == 1 else 0)


def _palette_on_black(picture: Image.Image) -> ByteArray:
    """The colour of each index, uint8 (256, 3)."""
    strip = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert("L")
    strip = Image.frombytes("P", strip.size, strip.tobytes())
    strip.putpalette(picture.getpalette("RGB") or [])
    if "transparency" in picture.info:
        strip.info["transparency"] = picture.info["transparency"]
    colours: ByteArray = np.asarray(as_rgb(strip, []))[0]
    return colours


def _of_colours(picture: Image.Image, exact: bool) -> LabelPixels:
    notes: list[str] = []
    colours = as_rgb(picture, notes)
    notes = [note for note in notes if note.startswith("fully")]
    if _is_grey(colours, exact):
        values = np.asarray(colours.convert("L"))
        if not values.any() and picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
            values = alpha if alpha.min() < alpha.max() else values
        return LabelPixels("grey", values, exact, notes=notes)
    return LabelPixels("colour", _strongest_channel(colours), exact, np.asarray(colours), notes=notes)


def _is_grey(colours: Image.Image, exact: bool) -> bool:
    """Whether colour is at most compression noise. Of few exact colours any that is not grey counts."""
    red, green, blue = colours.split()
    spread = ImageChops.lighter(ImageChops.difference(red, green), ImageChops.difference(red, blue))
    widest = int(np.asarray(spread).max())
    if widest == 0:
        return True
    few = exact and colours.getcolors(_FEW_COLOURS) is not None
    return bool(widest <= _GREY_SPREAD and not few)


def _strongest_channel(colours: Image.Image) -> ByteArray:
    """Luminance would lose red (76 of 255), so that a coloured label counts by its strongest channel."""
    red, green, blue = colours.split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
