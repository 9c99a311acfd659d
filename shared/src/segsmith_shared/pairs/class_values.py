"""Labels of several classes are read by the values or colours that were named, and by nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segsmith_shared.pairs.bad_pictures import UnknownClass, UnsupportedPixels
from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.intake import OpenedPicture, as_rgb, integers
from segsmith_shared.pairs.label_values import BLACK_UP_TO, VOC_VOID, Values
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray
from segsmith_shared.pairs.png_files import is_grey

_NO_CLASS = 254
_ROUNDING = 16  # what a JPEG can shift an even area by
_SOLID_PX = 5  # soft edges are thinner: a JPEG that halves its colours smears them over two pixels on each side
_ROWS_AT_ONCE = 256
_NAMED_AT_MOST = 8


def class_map(opened: OpenedPicture, classes: Sequence[ClassMark], notes: list[str]) -> ByteArray:
    """The class of each pixel, uint8 (H, W), `IGNORE` where it is unknown. Raises UnknownClass, UnsupportedPixels."""
    if classes[0].colour is not None:
        return _classes_by_colour(np.asarray(as_rgb(opened.picture, [])), classes, notes)
    return _classes_by_value(_values(opened.picture), classes, notes)


def _values(picture: Image.Image) -> Values:
    """The numbers a label was saved as, (H, W): of a palette file, as segmentation tools write it, the indices."""
    if picture.mode.startswith("I"):
        return integers(picture)
    if picture.mode in {"F", "LAB"}:
        raise UnsupportedPixels(f"label of mode {picture.mode}")
    if picture.mode in {"L", "P", "1"}:
        return np.asarray(picture).astype(np.uint8)
    channels = np.asarray(picture.convert("RGB"))
    if not is_grey(channels):
        raise UnknownClass("the label is coloured, and the classes are given by value")
    return np.ascontiguousarray(channels[..., 0])


def _classes_by_value(values: Values, classes: Sequence[ClassMark], notes: list[str]) -> ByteArray:
    numbers = np.full(2**16, _NO_CLASS, np.uint8)
    numbers[0] = 0
    given = [each.value for each in classes if each.value is not None]
    if max(given) < VOC_VOID:  # beside classes 255 means unknown; among greater numbers it is one like them
        numbers[VOC_VOID] = IGNORE
    for each in classes:
        if each.value is not None:
            numbers[each.value] = each.number
    label: ByteArray = numbers[values]
    unknown = values[label == _NO_CLASS]
    if unknown.size:
        raise _unknown_class("values", [str(value) for value in np.unique(unknown)], unknown.size, classes)
    if VOC_VOID not in given and (label == IGNORE).any():
        notes.append("value 255 read as unknown (not counted)")
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
    return label, np.asarray(best > BLACK_UP_TO**2), np.asarray(best > _ROUNDING**2)


def _of_one_colour(colours: ByteArray) -> BoolArray:
    """Whether all of a pixel's surroundings are of its colour: (H, W)."""
    picture = Image.fromarray(colours)
    low, high = (np.asarray(picture.filter(kind(_SOLID_PX))) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    return np.asarray((low == high).all(axis=-1))


def _unknown_class(kind: str, found: Sequence[str], pixels: int, classes: Sequence[ClassMark]) -> UnknownClass:
    shown = ", ".join(found[:_NAMED_AT_MOST]) + (" …" if len(found) > _NAMED_AT_MOST else "")
    known = ", ".join(f"{each.name}={each.sign}" for each in classes)
    return UnknownClass(f"{kind} {shown} ({pixels} px) are neither background nor any of {known}")
