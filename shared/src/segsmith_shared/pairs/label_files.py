"""The label files of an image become its class map: each read by its rule or by named classes, turned and united."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segsmith_shared.pairs.bad_pictures import BadPicture, LabelOfAnotherSize, LabelWithoutThreshold
from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.class_values import class_map
from segsmith_shared.pairs.intake import TRANSPOSES, DecodedImage, OpenedPicture, open_picture
from segsmith_shared.pairs.label_evidence import LabelEvidence, evidence_of
from segsmith_shared.pairs.label_rules import LabelRule, decided
from segsmith_shared.pairs.label_values import BLACK_UP_TO, LabelPixels, index_pixels, label_pixels, shown_pixels
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray

_JPEG_NOISE = 16
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class DecodedLabel:
    """A class map uint8 (H, W): 0 on background, 1 … F on lesions, 255 unknown; `notes` say how it was read.

    `perhaps_unturned`: the image was turned as its EXIF says, and the label's size does not tell whether it was too.
    """

    label: ByteArray
    notes: list[str] = field(default_factory=list)
    perhaps_unturned: bool = False


def survey_label(path: Path, maximum_pixels: int) -> LabelEvidence:
    """What a label file shows, for a decision over a whole set. Raises a BadPicture."""
    evidence = evidence_of(label_pixels(open_picture(path, maximum_pixels, reduced=True)))
    if evidence.exact or evidence.shows in {"nothing", "two values"}:
        return evidence
    return evidence_of(label_pixels(open_picture(path, maximum_pixels)))  # half of the size may hide small lesions


def decode_label(
    path: Path,
    maximum_pixels: int,
    procedure: str,
    image: DecodedImage,
    classes: Sequence[ClassMark] = (),
    rule: LabelRule | None = None,
) -> DecodedLabel:
    """The label of `image`, binarised before any resize: `corrected` ≥ 128 of 255, `authors` > 0 (science §1).

    With `classes`, values or colours mean what these say and nothing else. Otherwise `rule` says how the file is read;
    without one the file alone decides. A label drawn on the unturned picture is turned as the image was. Raises a
    BadPicture.
    """
    opened = open_picture(path, maximum_pixels)
    notes: list[str] = []
    label = class_map(opened, classes, notes) if classes else _by_rule(opened, procedure, rule, notes)
    if opened.orientation in TRANSPOSES:
        label = _turned(label, opened.orientation)
    perhaps_unturned = False
    if opened.orientation_in_file not in TRANSPOSES and image.orientation in TRANSPOSES:
        turned = _turned(label, image.orientation)
        if label.shape != image.image.shape[:2] == turned.shape:
            label = turned
            notes.append("label turned like its image")
        else:
            perhaps_unturned = label.shape == turned.shape and not np.array_equal(label, turned)
    if label.shape != image.image.shape[:2]:
        height_px, width_px = label.shape
        image_height_px, image_width_px = image.image.shape[:2]
        raise LabelOfAnotherSize(
            f"label is {width_px}×{height_px}, its image {image_width_px}×{image_height_px}",
        )
    return DecodedLabel(label, notes, perhaps_unturned)


def decode_labels(
    paths: Sequence[Path],
    maximum_pixels: int,
    procedure: str,
    image: DecodedImage,
    classes: Sequence[ClassMark] = (),
    rules: Sequence[LabelRule] = (),
) -> DecodedLabel:
    """The union of an image's label files: a later class over an earlier one, a class over unknown.

    Without files an empty label. `rules`: one for each file, or none. Raises a BadPicture.
    """
    united, notes, perhaps_unturned = np.zeros(image.image.shape[:2], np.uint8), [], False
    for index, path in enumerate(paths):
        rule = rules[index] if rules else None
        part = decode_label(path, maximum_pixels, procedure, image, classes, rule)
        shown = (part.label > 0) & ((part.label != IGNORE) | (united == 0))
        united = np.where(shown, part.label, united)
        notes += part.notes
        perhaps_unturned |= part.perhaps_unturned
    return DecodedLabel(united, list(dict.fromkeys(notes)), perhaps_unturned)


def _turned(label: ByteArray, orientation: int) -> ByteArray:
    return np.asarray(Image.fromarray(label).transpose(TRANSPOSES[orientation]))


def _by_rule(opened: OpenedPicture, procedure: str, rule: LabelRule | None, notes: list[str]) -> ByteArray:
    """0, 1 and 255, (H, W)."""
    pixels = _pixels_for(opened, rule)
    if rule is None:
        (decision,) = decided([evidence_of(pixels)])
        if isinstance(decision, BadPicture):
            raise decision
        rule = decision
    notes += pixels.notes + ([rule.note] if rule.note else [])
    label = _lesions(pixels, rule, procedure).astype(np.uint8)
    if rule.unknown is not None and pixels.coding != "colour":
        label[pixels.values == rule.unknown] = IGNORE
    return label


def _pixels_for(opened: OpenedPicture, rule: LabelRule | None) -> LabelPixels:
    """The file's pixels as the rule needs them: a palette's indices, or its colours."""
    if rule is not None and (rule.how == "half" or rule.foreground.startswith("#")):
        return shown_pixels(opened)
    if rule is not None and rule.how == "indices":
        if opened.picture.mode != "P":
            raise LabelWithoutThreshold("not a palette file", "leave --labels palette out")
        pixels = label_pixels(opened)
        return pixels if pixels.coding == "palette" else index_pixels(opened)
    return label_pixels(opened)


def _lesions(pixels: LabelPixels, rule: LabelRule, procedure: str) -> BoolArray:
    if rule.how == "foreground":
        return _foreground(pixels, rule.foreground)
    if rule.how == "ones":
        return np.asarray(pixels.values == 1)
    if rule.how == "half":
        return _from_half(pixels, procedure)
    if pixels.colours is not None:
        return ~_near(pixels.colours, "#000000", _others(pixels, "#000000"))
    noise = 0 if pixels.exact else _JPEG_NOISE
    return np.asarray(np.abs(pixels.values.astype(np.int32) - pixels.background) > noise)


def _from_half(pixels: LabelPixels, procedure: str) -> BoolArray:
    if procedure == "authors":
        return np.asarray(pixels.values > 0)
    threshold = 128 * 257 if pixels.deep else 128
    highest = int(pixels.values.max())
    if 0 < highest < threshold:
        if highest == 1:
            return np.asarray(pixels.values == 1)
        if pixels.exact or highest > _JPEG_NOISE:
            raise LabelWithoutThreshold(f"its highest value is {highest}, lesion begins at {threshold}")
    return np.asarray(pixels.values >= threshold)


def _foreground(pixels: LabelPixels, foreground: str) -> BoolArray:
    """The pixels of a value, an index or a colour (#rrggbb); of a label of two clusters the whole cluster."""
    if foreground.startswith("#"):
        if pixels.colours is not None:
            return _near(pixels.colours, foreground, _others(pixels, foreground))
        return _near(np.broadcast_to(pixels.levels[..., None], (*pixels.levels.shape, 3)), foreground)
    value, half = int(foreground), 128 * 257 if pixels.deep else 128
    if pixels.coding == "grey":
        shown = evidence_of(pixels)
        peak = next((mark for mark in map(int, shown.marks) if (mark >= half) == (value >= half)), None)
        is_peak = peak is not None and abs(value - peak) <= (shown.apart if value >= half or not pixels.exact else 0)
        if shown.shows == "two values" and is_peak and (value >= half or not shown.faint):
            return np.asarray((pixels.values >= half) == (value >= half))
    noise = 0 if pixels.exact else _JPEG_NOISE
    return np.asarray(np.abs(pixels.values.astype(np.int32) - value) <= noise)


def _others(pixels: LabelPixels, colour: str) -> list[str]:
    """What else the even areas of an exact file show, so that it is not taken for noise around a colour."""
    return [mark for mark in evidence_of(pixels).marks if mark != colour] if pixels.exact else []


def _near(colours: ByteArray, colour: str, others: Sequence[str] = ()) -> BoolArray:
    """Where uint8 (H, W, 3) is the colour but for compression noise, and nearer to it than to `others`, (H, W)."""
    wanted, *rivals = (np.frombuffer(bytes.fromhex(each[1:]), np.uint8).astype(np.int32) for each in (colour, *others))
    near = np.empty(colours.shape[:2], np.bool_)
    for top in range(0, len(colours), _ROWS_AT_ONCE):  # differences of a whole large picture would not fit
        rows = colours[top : top + _ROWS_AT_ONCE].astype(np.int32)
        distance = _squared_distance(rows, wanted)
        is_near = distance <= BLACK_UP_TO**2
        for rival in rivals:
            if _squared_distance(rival, wanted) <= (2 * BLACK_UP_TO) ** 2:
                is_near &= distance <= _squared_distance(rows, rival)
        near[top : top + _ROWS_AT_ONCE] = is_near
    return near


def _squared_distance(colours: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
    difference = colours - other
    return np.asarray(np.einsum("...c,...c->...", difference, difference))
