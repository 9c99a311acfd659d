"""Picture files from strangers become pixels: header first, then decoding, with one named problem per way to fail.

Runs inside the limited child processes of `reading`; nothing here trusts a byte of its input. The three other modules
that see files (`archives`, `formats`, `checking`) never decode one.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, UnidentifiedImageError

from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.pair import BoolArray, ByteArray
from segsmith_shared.problems import Problem

ACCEPTED_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
THUMBNAIL_PX = 256

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_UNKNOWN = 255
_COLOUR_TOLERANCE = 40  # Euclidean, of levels 0..255: what JPEG leaves inside of an area
_ROUNDING = 16  # what a JPEG can shift an even area by
_SOLID_PX = 5  # soft edges are thinner: a JPEG that halves its colours smears them over two pixels on each side
_ROWS_AT_ONCE = 256
_NAMED_AT_MOST = 8
_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
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


class BadPicture(Problem):
    """A file that cannot be half of a pair. The subclass is the reason, its `advice` what to do about the file."""

    status = 422
    title = "A picture cannot be used"
    advice: ClassVar[str] = ""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, hint=self.advice)


class UnreadableFile(BadPicture):
    """The bytes begin like a picture, but do not decode."""

    title = "A picture cannot be decoded"
    advice = "export it again from its source; the copy may be cut off"


class EmptyFile(BadPicture):
    """A file of no bytes."""

    title = "A file is empty"
    advice = "copy it again from its source"


class NoPicture(BadPicture):
    """The bytes are of no accepted picture format, whatever the file's name says."""

    title = "A file is not a picture"
    advice = "PNG, JPEG, BMP, TIFF, WebP, GIF and PPM are read"


class LfsPointer(NoPicture):
    """Text that stands in for the picture in a Git repository until Git LFS fetches it."""

    title = "A file was not fetched"
    advice = "run git lfs pull in its repository"


class TooManyPixels(BadPicture):
    """The header declares more pixels than the limit; nothing was decoded."""

    title = "A picture has too many pixels"
    advice = "reduce the picture, or raise maximum_pixels"


class TooManyFrames(BadPicture):
    """An animation or a document of several pages."""

    title = "A picture has several frames"
    advice = "export each frame as a file of its own"


class UnsupportedPixels(BadPicture):
    """Pixels without a fixed range (floating point, 32-bit integers) or in a colour space that does not convert."""

    title = "The kind of pixels is not supported"
    advice = "export as 8-bit or 16-bit grey or RGB"


class LabelOfAnotherSize(BadPicture):
    """The label does not lie on its image pixel by pixel."""

    title = "The label's size is not its image's"
    advice = "export both at the same size"


class LabelWithoutThreshold(BadPicture):
    """A label that is neither 0/1 nor reaches half of its range: a class map, or saved too dark."""

    title = "The label's values are unclear"
    advice = "save lesion as 255 (or 1) and everything else as 0, or name the classes: --classes polyp=1,instrument=2"


class UnknownClass(BadPicture):
    """A label shows values or colours that no class of the list has."""

    title = "A label shows something that is no class"
    advice = "name every value or every colour in --classes, and save labels without loss, as PNG"


@dataclass(frozen=True)
class DecodedImage:
    """uint8 (H, W, 3) as displayed: `orientation` (EXIF, 1..8) was applied. `notes` say what else was converted."""

    image: ByteArray
    orientation: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DecodedLabel:
    """A class map uint8 (H, W), 0 on background and 1 … F on lesions; `notes` say how it was read."""

    label: ByteArray
    notes: list[str] = field(default_factory=list)


def decode_image(path: Path, maximum_pixels: int) -> DecodedImage:
    """An image file as RGB, transparent parts on black, turned as its EXIF says. Raises a BadPicture."""
    stored, orientation = _open(path, maximum_pixels)
    notes: list[str] = []
    picture = _as_rgb(stored, notes)
    if orientation in _TRANSPOSES:
        picture = picture.transpose(_TRANSPOSES[orientation])
        notes.append(f"turned upright as its EXIF orientation ({orientation}) says; check that its label fits")
    return DecodedImage(np.asarray(picture), orientation, notes)


def decode_label(
    path: Path, maximum_pixels: int, procedure: str, image: DecodedImage, classes: Sequence[ClassMark] = ()
) -> DecodedLabel:
    """The label of `image`, binarised before any resize: `corrected` ≥ 128 of 255, `authors` > 0 (science §1).

    Grey, RGB, RGBA, palette and 1-bit files are read; values 0/1 count as 0/255, 16-bit values by their own range.
    With `classes`, values or colours mean what these say and nothing else. A label drawn on the unturned picture is
    turned as the image was. Raises a BadPicture.
    """
    stored, own_orientation = _open(path, maximum_pixels)
    notes: list[str] = []
    label = _class_map(stored, classes, notes) if classes else _binarised(_levels(stored), procedure, notes)
    if own_orientation in _TRANSPOSES:
        label = _turned(label, own_orientation)
    elif label.shape != image.image.shape[:2] and image.orientation in _TRANSPOSES:
        turned = _turned(label, image.orientation)
        if turned.shape == image.image.shape[:2]:
            label = turned
            notes.append("label turned like its image")
    if label.shape != image.image.shape[:2]:
        height_px, width_px = label.shape
        image_height_px, image_width_px = image.image.shape[:2]
        raise LabelOfAnotherSize(
            f"label is {width_px}×{height_px}, its image {image_width_px}×{image_height_px}",
        )
    return DecodedLabel(label, notes)


def decode_labels(
    paths: Sequence[Path], maximum_pixels: int, procedure: str, image: DecodedImage, classes: Sequence[ClassMark] = ()
) -> DecodedLabel:
    """The union of an image's label files, a later class over an earlier one; without files an empty label.

    Raises a BadPicture.
    """
    label, notes = np.zeros(image.image.shape[:2], np.uint8), []
    for path in paths:
        part = decode_label(path, maximum_pixels, procedure, image, classes)
        label = np.where(part.label > 0, part.label, label)
        notes += part.notes
    return DecodedLabel(label, list(dict.fromkeys(notes)))


def png_bytes(pixels: ByteArray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as PNG, lossless and without any metadata.

    Written here because encoding is most of an import's time: rows as differences to the row above and run lengths
    take 9 ms and 427 kB for a Kvasir picture; Pillow's fastest setting takes 23 ms and 446 kB (measured).
    """
    height_px, width_px = pixels.shape[:2]
    values = pixels.reshape(height_px, -1)
    rows = np.empty((height_px, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = 2  # filter type "up" (PNG specification, 9.2)
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    colour_type = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packer.compress(rows.data) + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def is_grey(image: ByteArray) -> bool:
    """Whether all three channels of uint8 (H, W, 3) are equal everywhere."""
    return bool((image == image[..., :1]).all())


def image_png_bytes(image: ByteArray) -> bytes:
    """An image uint8 (H, W, 3) as PNG: one channel where it is grey, three else."""
    return png_bytes(np.ascontiguousarray(image[..., 0]) if is_grey(image) else image)


def label_png_bytes(label: BoolArray) -> bytes:
    """A label of one class or a region, bool (H, W), as 8-bit grey PNG of 0 and 255."""
    return png_bytes(label * np.uint8(255))


def class_map_png_bytes(label: ByteArray) -> bytes:
    """A label of several classes, uint8 (H, W) of 0 … F, as 8-bit grey PNG of the same values."""
    return png_bytes(label)


def stored_label_bytes(label: ByteArray, classes: int) -> bytes:
    """A class map uint8 (H, W) as a version with so many classes stores it: 0 and 255 where there is only one."""
    return label_png_bytes(label > 0) if classes == 1 else class_map_png_bytes(label)


def jpeg_bytes(picture: Image.Image) -> bytes:
    """An RGB picture as JPEG for looking at."""
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def thumbnail_of(image: ByteArray) -> Image.Image:
    """uint8 (H, W, 3) reduced, never enlarged, to a longest side of 256 px."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture


def _open(path: Path, maximum_pixels: int) -> tuple[Image.Image, int]:
    """The decoded picture and its EXIF orientation, 1..8. The file is closed again, also when it is refused."""
    if path.stat().st_size == 0:
        raise EmptyFile("the file has no bytes")
    with path.open("rb") as stream:
        try:
            picture = Image.open(stream, formats=ACCEPTED_FORMATS)
            _check_header(picture, maximum_pixels)
            picture.load()
            # Asked after decoding: Pillow turns a TIFF itself and then reports 1.
            return picture, _orientation(picture)
        except UnidentifiedImageError:
            stream.seek(0)
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise LfsPointer("a Git LFS pointer, not the picture itself") from None
            raise NoPicture(_what_it_is(path)) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
            raise TooManyPixels(str(bomb)) from None
        except _DAMAGE as damage:
            raise UnreadableFile(str(damage) or type(damage).__name__) from damage


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


def _turned(label: ByteArray, orientation: int) -> ByteArray:
    picture = Image.fromarray(label).transpose(_TRANSPOSES[orientation])
    return np.asarray(picture)


def _as_rgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        notes.append("16-bit grey, divided by 257")
        return Image.fromarray(_eight_bits(picture)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            notes.append("transparent parts put on black")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, picture).convert("RGB")
    if picture.mode in {"F", "LAB"}:
        raise UnsupportedPixels(f"pixels of mode {picture.mode}")
    return picture.convert("RGB")


def _integers(picture: Image.Image) -> NDArray[np.int32]:
    """A 16-bit picture's values, (H, W); Pillow keeps some of them in 32-bit mode."""
    values = np.asarray(picture).astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnsupportedPixels(f"integers from {low} to {high}")
    return values


def _eight_bits(picture: Image.Image) -> ByteArray:
    return np.round(_integers(picture) / 257).astype(np.uint8)


def _levels(picture: Image.Image) -> NDArray[np.int32] | ByteArray:
    """How much each pixel is lesion, (H, W) in 0..255 or 0..65535, whatever way the label was saved."""
    if picture.mode.startswith("I"):
        return _integers(picture)
    if picture.mode == "F":
        raise UnsupportedPixels("floating-point label")
    if picture.mode == "L" and "transparency" not in picture.info:
        return np.asarray(picture)
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))
    colours = _as_rgb(picture, [])
    levels = _strongest_channel(colours)
    if not levels.any() and picture.mode == "P":
        return np.asarray(picture)  # every colour of the palette is black: the indices say what is lesion
    if not levels.any() and picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        return alpha if alpha.min() < alpha.max() else levels
    return levels


def _strongest_channel(colours: Image.Image) -> ByteArray:
    """Luminance where a label is grey; the strongest channel where it is coloured, else red (luminance 76) is lost."""
    red, green, blue = colours.split()
    spread = ImageChops.lighter(ImageChops.difference(red, green), ImageChops.difference(red, blue))
    if int(np.asarray(spread).max()) <= 64:  # JPEG's chroma noise
        return np.asarray(colours.convert("L"))
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))


def _binarised(levels: NDArray[np.int32] | ByteArray, procedure: str, notes: list[str]) -> ByteArray:
    """0 or 1, (H, W)."""
    highest = int(levels.max())
    if highest == 1:
        notes.append("label values 0 and 1 read as background and lesion")
        return np.asarray(levels == 1, np.uint8)
    if procedure == "authors":
        return np.asarray(levels > 0, np.uint8)
    threshold = 128 if highest <= 255 else 128 * 257
    if 0 < highest < threshold:
        raise LabelWithoutThreshold(f"its highest value is {highest}, lesion begins at {threshold}")
    return np.asarray(levels >= threshold, np.uint8)


def _class_map(picture: Image.Image, classes: Sequence[ClassMark], notes: list[str]) -> ByteArray:
    """The class of each pixel, uint8 (H, W). Raises UnknownClass."""
    if classes[0].colour is not None:
        return _classes_by_colour(np.asarray(_as_rgb(picture, [])), classes, notes)
    return _classes_by_value(_values(picture), classes)


def _values(picture: Image.Image) -> NDArray[np.int32] | ByteArray:
    """The numbers a label was saved as, (H, W): of a palette file, as segmentation tools write it, the indices."""
    if picture.mode.startswith("I"):
        return _integers(picture)
    if picture.mode in {"F", "LAB"}:
        raise UnsupportedPixels(f"label of mode {picture.mode}")
    if picture.mode in {"L", "P", "1"}:
        return np.asarray(picture).astype(np.uint8)
    channels = np.asarray(picture.convert("RGB"))
    if not is_grey(channels):
        raise UnknownClass("the label is coloured, and the classes are given by value")
    return np.ascontiguousarray(channels[..., 0])


def _classes_by_value(values: NDArray[np.int32] | ByteArray, classes: Sequence[ClassMark]) -> ByteArray:
    numbers = np.full(2**16, _UNKNOWN, np.uint8)
    numbers[0] = 0
    for each in classes:
        if each.value is not None:
            numbers[each.value] = each.number
    label: ByteArray = numbers[values]
    unknown = values[label == _UNKNOWN]
    if unknown.size:
        raise _unknown_class("values", [str(value) for value in np.unique(unknown)], unknown.size, classes)
    return label


def _classes_by_colour(colours: ByteArray, classes: Sequence[ClassMark], notes: list[str]) -> ByteArray:
    """uint8 (H, W, 3) → the class of the nearest colour, uint8 (H, W).

    Pixels of no listed colour are forgiven where they are as thin as the soft edges that JPEG or smoothing leave. An
    area of one colour that is none of the list is a class that was not listed, however near the colour is.
    """
    listed = [(each.rgb, each.number) for each in classes]
    if (0, 0, 0) not in dict(listed):
        listed.append(((0, 0, 0), 0))
    label = np.empty(colours.shape[:2], np.uint8)
    far, off = (np.empty(colours.shape[:2], np.bool_) for _ in range(2))
    for top in range(0, len(colours), _ROWS_AT_ONCE):  # differences of a whole large picture would not fit
        rows = slice(top, top + _ROWS_AT_ONCE)
        label[rows], far[rows], off[rows] = _nearest(colours[rows].astype(np.int32), listed)
    if not off.any():
        return label
    solid = np.asarray(Image.fromarray(far * np.uint8(255)).filter(ImageFilter.MinFilter(_SOLID_PX))) > 0
    solid |= off & _of_one_colour(colours)
    if solid.any():
        names = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(colours[solid], axis=0).tolist()]
        raise _unknown_class("colours", names, int((far | solid).sum()), classes)
    if not far.any():
        return label
    notes.append(f"{far.mean():.2%} of the label lies on soft edges, read as the nearest class")
    return label


def _nearest(
    colours: NDArray[np.int32], listed: Sequence[tuple[tuple[int, int, int], int]]
) -> tuple[ByteArray, BoolArray, BoolArray]:
    """Of each pixel, (H, W): number of the nearest listed colour, whether even that is far, whether it is another."""
    best = np.full(colours.shape[:2], np.iinfo(np.int32).max, np.int32)
    label = np.zeros(colours.shape[:2], np.uint8)
    for colour, number in listed:
        difference = colours - np.array(colour, np.int32)
        distance = np.einsum("hwc,hwc->hw", difference, difference)
        nearer = distance < best
        label[nearer], best[nearer] = number, distance[nearer]
    return label, np.asarray(best > _COLOUR_TOLERANCE**2), np.asarray(best > _ROUNDING**2)


def _of_one_colour(colours: ByteArray) -> BoolArray:
    """Whether all of a pixel's surroundings are of its colour: (H, W)."""
    picture = Image.fromarray(colours)
    low, high = (np.asarray(picture.filter(kind(_SOLID_PX))) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    return np.asarray((low == high).all(axis=-1))


def _unknown_class(kind: str, found: Sequence[str], pixels: int, classes: Sequence[ClassMark]) -> UnknownClass:
    shown = ", ".join(found[:_NAMED_AT_MOST]) + (" …" if len(found) > _NAMED_AT_MOST else "")
    known = ", ".join(f"{each.name}={each.sign}" for each in classes)
    return UnknownClass(f"{kind} {shown} ({pixels} px) are neither background nor any of {known}")
