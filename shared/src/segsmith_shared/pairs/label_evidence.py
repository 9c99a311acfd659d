"""Does a label file show two values, several, or no label at all? What one file tells, for a decision over them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from PIL import Image

from segsmith_shared.pairs.even_areas import around, even_areas, even_share_inside, within
from segsmith_shared.pairs.label_values import BLACK_UP_TO, VOC_VOID, Coding, LabelPixels, Values
from segsmith_shared.pairs.pair import BoolArray, ByteArray

Shows = Literal["nothing", "one value", "two values", "several", "picture"]

NOISE = 32  # levels around a cluster's peak that compression, or a border of almost black, may reach
_APART = 96  # levels between two clusters
_CLUSTERED = 0.8  # of the pixels, at least, where there are two clusters
_EVEN_INSIDE = 0.2  # of an exact label's foreground, also where its edges were blurred over 16 px
_EVEN_RANGE = 8  # levels within 3 × 3 px of an even area
_FEWEST_PX = 9  # of even area that is no accident
_EVEN_OF_AREA = 0.2  # of an area's pixels; in the tail of a wide soft edge fewer are
_ALMOST_BLACK = 16
_SAVED_AGAIN = 8  # levels by which a JPEG that was saved again without loss moves an even area
_LONE_PX, _LONE_SHARE = 20, 0.9  # one value that alone makes up the space between two clusters is no soft edge
_MOST_NAMED = 64
_MOST_PARTS = 512
_FEWEST_INSTANCES = 9  # fewer values could be classes
_CONNECTED = 0.9
_BACKGROUND_SHARE = 0.25
_COMPACT = 0.4  # of its bounding box; the ring of one level of a heat map fills less
_FEW_COLOURS = 16
_COLOUR_NOISE = 16


@dataclass(frozen=True)
class LabelEvidence:
    """What one label file shows, as plain values.

    `marks` are its values (or colours, #rrggbb) with `pixels` of each, the most frequent first, at most 64 of the
    `distinct`. `faint` are values of even areas near 0 beside a lesion of 128 or more: classes, or a border that is
    almost black. `instances`: more than eight values, each one connected area. `border`: most frequent mark there.
    `apart`: levels (of colours, Euclidean) by which two marks of different files, or one that the user names, may
    differ and be the same: 0 where there are few exact ones.
    """

    coding: Coding
    shows: Shows
    marks: tuple[str, ...]
    pixels: tuple[int, ...]
    distinct: int
    faint: tuple[int, ...]
    instances: bool
    border: str
    background: int
    deep: bool
    exact: bool
    apart: int

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "LabelEvidence":
        """The evidence that was sent as JSON."""
        lists = {name: tuple(document[name]) for name in ("marks", "pixels", "faint")}
        return cls(**document | lists)

    @property
    def values(self) -> frozenset[int]:
        """The marks as numbers. Only of grey and palette files."""
        return frozenset(map(int, self.marks))


def evidence_of(label: LabelPixels) -> LabelEvidence:
    """What a label file shows, whatever its other files show."""
    if label.coding == "colour" and label.colours is not None:
        return _of_colours(label, label.colours)
    if label.coding == "palette":
        return _of_values(label, two_valued=False)
    return _of_values(label, two_valued=is_two_valued(label))


def is_two_valued(label: LabelPixels) -> bool:
    """Whether grey values form two clusters, one of half of the range or more, and what lies between is an edge.

    An edge is thin or steep. Even areas between the clusters, or one value that alone lies between them, are a third
    region. What is within 32 levels of a cluster's peak belongs to it, but not where no compression explains it.
    """
    levels = label.levels
    counts = _histogram(levels)
    if not counts[128:].any() or not counts[:128].any():
        return False
    low, high = int(counts[:128].argmax()), 128 + int(counts[128:].argmax())
    numbers = np.arange(256)
    far = (np.abs(numbers - low) > NOISE) & (np.abs(numbers - high) > NOISE)
    far_px = int(counts[far].sum())
    if label.exact and _third_regions(levels, counts, low, high):
        return False
    if high - low < _APART or far_px > (1 - _CLUSTERED) * levels.size:
        return False
    if far_px < _LONE_PX:
        return True
    if label.exact and counts[far].max() >= _LONE_SHARE * far_px:
        return False
    return int((even_areas(levels, _EVEN_RANGE) & far[levels]).sum()) < _FEWEST_PX


def _third_regions(levels: ByteArray, counts: Any, low: int, high: int) -> list[int]:
    """Values of an exact file that neither a cluster nor an edge explains: even areas, or thin ones beside one side.

    Those up to 16 are left to the whole set, as almost black borders of some pictures have such values.
    """
    others = [value for value in np.flatnonzero(counts).tolist() if value not in {low, high} and value > _ALMOST_BLACK]
    if not any(counts[value] >= _FEWEST_PX for value in others):
        return []
    even_px = np.bincount(levels[even_areas(levels, 0)], minlength=256)
    thirds = [v for v in others if even_px[v] >= max(_FEWEST_PX, _EVEN_OF_AREA * counts[v])]
    if thirds or np.count_nonzero(counts) > _FEW_COLOURS:
        return thirds
    lower, higher = (around(around(levels, kind), kind) for kind in (np.minimum, np.maximum))
    thin = [v for v in others if counts[v] >= _LONE_PX and min(abs(v - low), abs(v - high)) > NOISE]
    return [v for v in thin if ((lower < v) & (higher > v))[levels == v].mean() < 0.5]


def _histogram(levels: ByteArray) -> Any:
    return np.array(Image.fromarray(levels).histogram())


def _of_values(label: LabelPixels, *, two_valued: bool) -> LabelEvidence:
    values = label.values
    counts = np.bincount(values.ravel()) if label.deep else _histogram(label.levels)
    present = np.flatnonzero(counts)
    ranked = present[np.argsort(-counts[present], kind="stable")][:_MOST_NAMED]
    kind: Shows = "two values" if two_valued else _shows(label, present)
    looks_uneven = label.coding == "grey" and len(present) > _FEW_COLOURS and kind in {"two values", "several"}
    if looks_uneven and _is_uneven_inside(label):
        kind = "picture"
    instances = kind in {"several", "picture"} and _are_instances(values, present, alone=kind == "picture")
    rim = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    marks = dict(zip(ranked.tolist(), counts[ranked].tolist(), strict=True))
    soft = label.coding == "grey" and not label.deep and (not label.exact or len(present) > _FEW_COLOURS)
    if soft and kind == "several" and not instances:
        marks = _clusters(label, counts) or marks
    return LabelEvidence(
        coding=label.coding,
        shows="several" if instances else kind,
        marks=tuple(map(str, marks)),
        pixels=tuple(marks.values()),
        distinct=len(present) if len(marks) == len(ranked) else len(marks),
        faint=_faint(label, counts) if kind == "two values" else (),
        instances=instances,
        border=str(np.bincount(rim).argmax()),
        background=label.background,
        deep=label.deep,
        exact=label.exact,
        apart=_apart(exact=label.exact, few=len(present) <= _FEW_COLOURS, lossy=NOISE),
    )


def _clusters(label: LabelPixels, counts: Any) -> dict[int, int]:
    """The values that even areas of a file with noise or soft edges have, with the pixels around each."""
    levels = label.levels
    even_px = np.bincount(levels[even_areas(levels, 0 if label.exact else _EVEN_RANGE)], minlength=256)
    reach = 0 if label.exact else NOISE
    found: dict[int, int] = {}
    for value in np.argsort(-even_px, kind="stable").tolist():
        if even_px[value] >= _FEWEST_PX and all(abs(value - each) > reach for each in found):
            found[value] = int(counts[max(0, value - reach) : value + reach + 1].sum())
    return dict(list(found.items())[:_MOST_NAMED])


def _shows(label: LabelPixels, present: Any) -> Shows:
    lowest, highest = int(present[0]), int(present[-1])
    if lowest == highest:
        return "nothing" if lowest == label.background else "one value"
    if label.coding == "grey" and not label.deep and highest - lowest <= NOISE:
        if lowest >= 128 and (not label.exact or not _has_even_areas(label.levels, present)):
            return "one value"
        if not label.exact and highest <= _COLOUR_NOISE:
            return "nothing"
    if label.exact and (label.coding == "palette" or len(present) <= _FEW_COLOURS):
        return "several"
    levels = label.levels
    if label.exact and label.deep:
        low_byte, high_byte = (np.asarray(each, np.uint8) for each in (label.values & 255, label.values >> 8))
        even = even_areas(low_byte, 0) & even_areas(high_byte, 0)
    else:
        even = even_areas(levels, 0 if label.exact else _EVEN_RANGE)
    return "several" if even.mean() >= 0.5 else "picture"


def _has_even_areas(levels: ByteArray, values: Any) -> bool:
    """Whether each of two values or more has an area of its own."""
    even_px = np.bincount(levels[even_areas(levels, 0)], minlength=256)
    return int((even_px[values] >= _FEWEST_PX).sum()) > 1


def _is_uneven_inside(label: LabelPixels) -> bool:
    """Whether grey values apart from the most frequent one are as uneven as a picture's, also one on much black."""
    levels = label.levels
    background = int(_histogram(levels).argmax())
    foreground = np.abs(levels.astype(np.int16) - background) > NOISE
    even = even_areas(levels, 0 if label.exact else _EVEN_RANGE)
    return even_share_inside(even, foreground) < (_EVEN_INSIDE if label.exact else 0.5)


def _faint(label: LabelPixels, counts: Any) -> tuple[int, ...]:
    """Values of 1..31 that fill even areas beside two clusters; of exact files alone, as JPEG makes such by itself."""
    near_zero = [value for value in range(1, NOISE) if counts[value] >= _FEWEST_PX]
    if not label.exact or not near_zero or counts[0] == 0:
        return ()
    small = np.asarray(np.minimum(label.values, 255), np.uint8)
    even = np.bincount(small[even_areas(small, 0)], minlength=NOISE)
    return tuple(value for value in near_zero if even[value] >= _FEWEST_PX)


def _are_instances(values: Values, present: Any, *, alone: bool) -> bool:
    """More than eight values above 0, nine in ten of which are one connected area each.

    `alone`: they must also lie compact on a background of 0, as the levels of a photograph or a heat map do not.
    """
    ids = [value for value in present.tolist() if value > 0 and not (value == VOC_VOID and VOC_VOID - 1 not in present)]
    if len(ids) < _FEWEST_INSTANCES or (alone and (values == 0).mean() < _BACKGROUND_SHARE):
        return False
    from scipy import ndimage  # here: half a second that a command line need not wait for

    boxes = ndimage.find_objects(np.asarray(values, np.int32))
    some = ids[:: max(1, len(ids) // _MOST_PARTS)]
    whole = sum(_is_one_area(values[boxes[i - 1]] == i, compact=alone) for i in some)
    return bool(whole >= _CONNECTED * len(some))


def _is_one_area(area: BoolArray, *, compact: bool) -> bool:
    if compact and (area.sum() < _FEWEST_PX or area.mean() < _COMPACT):
        return False
    from scipy import ndimage

    return bool(ndimage.label(area, np.ones((3, 3), np.int8))[1] == 1)


def _of_colours(label: LabelPixels, colours: ByteArray) -> LabelEvidence:
    """Even areas by colour; what lies between them is an edge."""
    few = Image.fromarray(colours).getcolors(_FEW_COLOURS) if label.exact else None
    apart = _apart(exact=label.exact, few=few is not None, lossy=BLACK_UP_TO)
    found, even_share = _even_colours(label, colours, few, apart)
    distinct = len(found)
    marks, pixels = list(found), list(found.values())
    lesions = [mark for mark in marks if not is_black(mark, apart)]
    kind: Shows = "several"
    if even_share < 0.5 or len(found) > _MOST_NAMED:
        kind, distinct = "picture", len(_ranked(colours.reshape(-1, 3), most=None))
    elif len(lesions) <= 1:
        kind = "two values" if lesions and len(found) > 1 else "one value" if lesions else "nothing"
    rim = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    return LabelEvidence(
        coding="colour",
        shows=kind,
        marks=tuple(marks[:_MOST_NAMED]),
        pixels=tuple(pixels[:_MOST_NAMED]),
        distinct=distinct,
        faint=(),
        instances=False,
        border=_hex(_ranked(rim)[0][1]),
        background=0,
        deep=False,
        exact=label.exact,
        apart=apart,
    )


def is_black(colour: str, apart: int) -> bool:
    """Whether a colour #rrggbb is black but for the noise of its file."""
    return are_near(colour, "#000000", apart)


def are_near(one: str, other: str, apart: int) -> bool:
    """Whether two colours #rrggbb may be one after compression that moves them so far."""
    return _distance(bytes.fromhex(one[1:]), bytes.fromhex(other[1:])) <= apart


def _apart(*, exact: bool, few: bool, lossy: int) -> int:
    """Few exact values mean what they say; many are soft edges, or a JPEG that was saved again without loss."""
    return lossy if not exact else 0 if few else _SAVED_AGAIN


def _even_colours(
    label: LabelPixels, colours: ByteArray, few: list[Any] | None, apart: int
) -> tuple[dict[str, int], float]:
    """Colours of even areas with their pixels, and which share of the picture, and of what is not black, is even.

    Of a file of few exact colours those of thin areas count too, unless they lie between two others as an edge does.
    """
    even = np.ones(colours.shape[:2], np.bool_)
    for channel in range(3):
        even &= even_areas(np.ascontiguousarray(colours[..., channel]), 0 if label.exact else _COLOUR_NOISE)
    found = _merged(_ranked(colours[even]), apart)
    if few is None:
        foreground = label.values > NOISE
        share = min(float(even.mean()), even_share_inside(even, np.asarray(foreground)))
        return {_hex(colour): number for colour, number in found.items()}, share
    thin = [
        (number, colour)
        for number, colour in few
        if colour not in found
        and (not _between(colour, [*found]) or (number >= _LONE_PX and not _is_edge(colours, colour, [*found])))
    ]
    all_px = {colour: number for number, colour in few}
    found = _merged([*((all_px[colour], colour) for colour in found), *sorted(thin, reverse=True)], apart)
    return {_hex(colour): number for colour, number in found.items()}, 1.0


Colour = tuple[int, ...]


def _ranked(colours: ByteArray, most: int | None = 1024) -> list[tuple[int, Colour]]:
    """uint8 (n, 3) → the most frequent of different colours, each with its pixels."""
    packed = colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    different, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        (number, (code >> 16, code >> 8 & 255, code & 255))
        for code, number in zip(different[order].tolist(), counts[order].tolist(), strict=True)
    ]


def _merged(ranked: Sequence[tuple[int, Colour]], apart: int) -> dict[Colour, int]:
    """Colours with their pixels; one within so many levels of one before joins it, and specks are left out."""
    found: dict[Colour, int] = {}
    for number, colour in ranked:
        near = next((each for each in found if _distance(each, colour) <= apart), colour)
        found[near] = found.get(near, 0) + number
    return {colour: number for colour, number in found.items() if number >= _FEWEST_PX}


def _between(colour: Colour, found: Sequence[Colour]) -> bool:
    """Whether a colour is a mixture of two others, within 40 levels."""
    point = np.array(colour, np.float64)
    for one, other in combinations(found, 2):
        start, along = np.array(one, np.float64), np.array(other, np.float64) - np.array(one, np.float64)
        share = float(np.clip((point - start) @ along / (along @ along), 0, 1))
        if np.linalg.norm(start + share * along - point) <= BLACK_UP_TO:
            return True
    return False


def _is_edge(colours: ByteArray, colour: Colour, found: Sequence[Colour]) -> bool:
    """Whether most pixels of a colour lie within 2 px of two others, as those of a soft edge do."""
    own = (colours == np.array(colour, np.uint8)).all(axis=-1)
    beside = np.zeros(own.shape, np.uint8)
    for each in found:
        if each != colour:
            beside += ~within(~(colours == np.array(each, np.uint8)).all(axis=-1), 2)
    return bool((beside[own] >= 2).mean() >= 0.5)


def _distance(one: Sequence[int], other: Sequence[int]) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5)


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour[:3])
