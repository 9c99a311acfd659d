"""Picture files become pixels: header first, then decoding, with one named problem per way to fail.

Runs inside the limited child processes of `reading`; nothing here trusts a byte of its input. The three other modules
that see files (`archives`, `formats`, `checking`) never decode one.
"""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segsmith_shared.pairs.bad_pictures import (
    EmptyFile,
    LfsPointer,
    NoPicture,
    TooManyFrames,
    TooManyPixels,
    UnreadableFile,
    UnsupportedPixels,
)
from segsmith_shared.pairs.file_kinds import LFS_POINTER
from segsmith_shared.pairs.pair import ByteArray

ACCEPTED_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")

_DRAFT_FROM_PX = 256
_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 262, 0
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What decoders raise on damaged bytes, collected from Pillow's plugins; MemoryError is told apart.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, ArithmeticError, AttributeError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class OpenedPicture:
    """A decoded file. `orientation` (EXIF, 1..8) is still to be applied; `orientation_in_file` may have been already.

    `exact`: the file's compression keeps every value, so that values can mean classes.
    """

    picture: Image.Image
    orientation: int
    orientation_in_file: int
    exact: bool


@dataclass(frozen=True)
class DecodedImage:
    """uint8 (H, W, 3) as displayed: `orientation` (EXIF, 1..8) was applied. `notes` say what else was converted.

    `highest` is the greatest value that the file holds, of the `highest_possible` at its depth.
    """

    image: ByteArray
    orientation: int
    notes: list[str] = field(default_factory=list)
    highest: int = 255
    highest_possible: int = 255


def decode_image(path: Path, maximum_pixels: int) -> DecodedImage:
    """An image file as RGB, transparent parts on black, turned as its EXIF says. Raises a BadPicture."""
    opened = open_picture(path, maximum_pixels)
    notes: list[str] = []
    picture = as_rgb(opened.picture, notes)
    if opened.orientation in TRANSPOSES:
        picture = picture.transpose(TRANSPOSES[opened.orientation])
        notes.append(f"turned upright as its EXIF orientation ({opened.orientation}) says")
    pixels = np.asarray(picture)
    if opened.picture.mode.startswith("I"):
        deepest = int(integers(opened.picture).max())
        return DecodedImage(pixels, opened.orientation_in_file, notes, deepest, 65535)
    return DecodedImage(pixels, opened.orientation_in_file, notes, int(pixels.max()), 255)


def open_picture(path: Path, maximum_pixels: int, *, reduced: bool = False) -> OpenedPicture:
    """Decode a file and close it again, also when it is refused. Raises a BadPicture.

    `reduced`: a large JPEG at half of its size, which takes a third of the time.
    """
    if path.stat().st_size == 0:
        raise EmptyFile("the file has no bytes")
    with path.open("rb") as stream:
        try:
            picture = Image.open(stream, formats=ACCEPTED_FORMATS)
            _check_header(picture, maximum_pixels)
            exact = _keeps_values(picture, path)
            if reduced and min(picture.size) >= _DRAFT_FROM_PX:
                picture.draft(picture.mode, (picture.width // 2, picture.height // 2))
            before = _orientation(picture) if picture.format == "TIFF" else 1
            picture.load()
            after = _orientation(picture)  # asked after decoding: Pillow turns a TIFF itself and then reports 1
            return OpenedPicture(_straight_alpha(picture), after, after if after in TRANSPOSES else before, exact)
        except UnidentifiedImageError:
            stream.seek(0)
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                raise LfsPointer("a Git LFS pointer, not the picture itself") from None
            raise NoPicture(_what_it_is(path)) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
            raise TooManyPixels(str(bomb)) from None
        except _DAMAGE as damage:
            raise UnreadableFile(str(damage) or type(damage).__name__) from damage


def _keeps_values(picture: Image.Image, path: Path) -> bool:
    if picture.format == "WEBP":
        with path.open("rb") as stream:
            return b"VP8L" in stream.read(4096)
    return picture.format not in {"JPEG", "MPO"} and picture.info.get("compression") != "jpeg"


def _straight_alpha(picture: Image.Image) -> Image.Image:
    """Colours that were stored multiplied by their alpha, as GIMP and libvips write TIFF, become plain ones."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
    return picture.convert(straight) if straight else picture


def _check_header(picture: Image.Image, maximum_pixels: int) -> None:
    if picture.width * picture.height > maximum_pixels:
        raise TooManyPixels(f"{picture.width}×{picture.height} is more than {maximum_pixels / 1e6:g} million pixels")
    # An MPO is a JPEG whose first frame is the picture; the others are depth maps and previews.
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if frames > 1:
        raise TooManyFrames(f"{frames} frames or pages")


def _what_it_is(path: Path) -> str:
    """A guess for people who exported the wrong thing."""
    with path.open("rb") as stream:
        start = stream.read(1024)
    known = {b"GIF8": "a damaged GIF", b"%PDF": "a PDF", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip file"}
    for magic, name in known.items():
        if start.startswith(magic):
            return f"the file is {name}"
    if start[128:132] == b"DICM":
        return "the file is DICOM"
    printable = sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in start)
    return "the file holds text" if printable > 0.95 * len(start) else "the file begins like no picture format we read"


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        return 1  # damaged metadata does not make the pixels worse


def as_rgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    """A decoded picture of any mode as RGB; `notes` get what was converted. Raises UnsupportedPixels."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        notes.append("16-bit grey, divided by 257")
        return Image.fromarray(np.round(integers(picture) / 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        return _on_black(picture.convert("RGBA"), notes)
    if picture.mode in {"F", "LAB"}:
        raise UnsupportedPixels(f"pixels of mode {picture.mode}")
    return picture.convert("RGB")


def _on_black(picture: Image.Image, notes: list[str]) -> Image.Image:
    lowest, highest = picture.getchannel("A").getextrema()
    if highest == 0:  # nothing would be left: some tools fill alpha with zeros, and mean the colours
        notes.append("fully transparent: read by its colours")
        return picture.convert("RGB")
    if lowest != 255:
        notes.append("transparent parts put on black")
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, picture).convert("RGB")


def integers(picture: Image.Image) -> NDArray[np.int32]:
    """A 16-bit picture's values, (H, W), 0 black also where the file says that white is zero.

    Pillow keeps some of them in 32-bit mode, and inverts those of 1 and 8 bits alone. Raises UnsupportedPixels.
    """
    values = np.asarray(picture).astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnsupportedPixels(f"integers from {low} to {high}")
    tags = getattr(picture, "tag_v2", {})
    return 65535 - values if tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO else values
