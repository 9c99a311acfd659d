"""Can the pairs of a set, taken together, be meant? Faults that no single file shows, each said once with examples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segsmith_shared.pairs.pair import BoolArray

MOST_COMPARED = 1000
_EXAMPLES = 2
_FEWEST_ALIKE = 3
_ALIKE_IOU = 0.95
_ALIKE_SHARE = 0.4  # two cameras have two fields of view
_NEARLY_BLACK = {255: 32, 65535: 16384}  # the highest value of a picture, below an eighth and a quarter of the range


@dataclass(frozen=True)
class PairTraits:
    """What plausibility asks of an accepted pair. Files are paths within the folder; fractions are of the picture.

    `border_fraction`: of the picture's border. `label_print`, uint8 16×16: how much of each field is lesion.
    """

    image_file: str
    label_file: str
    image_digest: str
    lesion_fraction: float
    border_fraction: float
    label_print: bytes
    highest: int
    highest_possible: int
    perhaps_unturned: bool
    vanished_lesions: int
    lesion_count: int


@dataclass(frozen=True)
class Doubt:
    """One thing that the set makes doubtful: `file` and the further example in `what` are where to look."""

    code: str
    file: str
    what: str
    what_to_do: str


def doubts_about(pairs: Sequence[PairTraits], at_side_px: int | None = None) -> list[Doubt]:
    """What makes a set implausible; an empty list where nothing does."""
    checks: Iterable[Callable[[], Doubt | None]] = (
        lambda: _inverted(pairs),
        lambda: _mostly_lesion(pairs),
        lambda: _all_alike(pairs),
        lambda: _nearly_black(pairs),
        lambda: _perhaps_unturned(pairs),
        lambda: _vanishing(pairs, at_side_px),
    )
    return [doubt for check in checks if (doubt := check()) is not None]


def swapped(label_file: str, image_file: str, number: int) -> Doubt:
    """The doubt about a set whose labels look like pictures while its images look like labels."""
    return Doubt(
        "images-and-labels-swapped",
        label_file,
        f"{number} labels look like pictures, and their images, e.g. {image_file}, like labels",
        "exchange the two folders",
    )


def labels_like_pictures(files: Sequence[str], of: int) -> Doubt:
    """The doubt about a set in which so many label files were refused as pictures."""
    return Doubt(
        "labels-look-like-pictures",
        files[0],
        f"{_of_set(len(files), of)} labels look like pictures{_also(files)}",
        "export the masks themselves, without the picture under them",
    )


def _of_set(number: int, total: int) -> str:
    return f"{number} of {total}"


def _also(files: Sequence[str]) -> str:
    others = files[1:_EXAMPLES]
    return f", also {', '.join(others)}" if others else ""


def _is_inverted(pair: PairTraits) -> bool:
    return pair.lesion_fraction > 0.5 and pair.border_fraction > 0.9


def _inverted(pairs: Sequence[PairTraits]) -> Doubt | None:
    """Lesions seldom fill the border; where they do, and fill half of the picture too, it is the background."""
    files = [pair.label_file for pair in pairs if _is_inverted(pair)]
    if not files:
        return None
    # --foreground 0 inverts every label, so that none may be right as it is
    all_of_them = len(files) > len(pairs) / 2 and all(pair.lesion_fraction > 0.5 for pair in pairs)
    return Doubt(
        "labels-inverted" if all_of_them else "some-labels-inverted",
        files[0],
        f"{_of_set(len(files), len(pairs))} labels mark over half of the picture and its border{_also(files)}",
        "where black is the lesion: --foreground 0" if all_of_them else "invert these, or leave them out",
    )


def _mostly_lesion(pairs: Sequence[PairTraits]) -> Doubt | None:
    files = [pair.label_file for pair in pairs if pair.lesion_fraction > 0.5 and not _is_inverted(pair)]
    if len(files) <= len(pairs) / 2:
        return None
    what = f"{_of_set(len(files), len(pairs))} labels mark over half of the picture{_also(files)}"
    return Doubt("mostly-lesion", files[0], what, "check that the labels show lesions, not e.g. the field of view")


def _all_alike(pairs: Sequence[PairTraits]) -> Doubt | None:
    """The same area in different pictures is what the camera sees, not what is in the picture."""
    chosen = [pair for pair in pairs if pair.lesion_fraction > 0]
    chosen = chosen[:: max(1, len(chosen) // MOST_COMPARED)]
    if len(chosen) < _FEWEST_ALIKE:
        return None
    alike = _alike([pair.label_print for pair in chosen])
    most = int(alike.sum(axis=1).argmax())
    files = {pair.image_digest: pair.label_file for pair, is_like in zip(chosen, alike[most], strict=True) if is_like}
    if len(files) < max(_FEWEST_ALIKE, _ALIKE_SHARE * len(chosen)):
        return None
    examples = list(files.values())
    return Doubt(
        "labels-all-alike",
        examples[0],
        f"{_of_set(len(files), len(chosen))} labels of different pictures mark (nearly) the same area{_also(examples)}",
        "check that the labels show lesions, not the field of view",
    )


def _alike(prints: Sequence[bytes]) -> BoolArray:
    """Which labels cover the same area, by the overlap of their 16×16 prints: (n, n)."""
    areas = np.frombuffer(b"".join(prints), np.uint8).reshape(len(prints), -1).astype(np.float32)
    alike = np.empty((len(prints), len(prints)), np.bool_)
    for row, area in enumerate(areas):
        shared, either = np.minimum(areas, area).sum(axis=1), np.maximum(areas, area).sum(axis=1)
        alike[row] = shared >= _ALIKE_IOU * either
    return alike


def _nearly_black(pairs: Sequence[PairTraits]) -> Doubt | None:
    dark = [pair for pair in pairs if pair.highest < _NEARLY_BLACK[pair.highest_possible]]
    if not dark:
        return None
    brightest = max(dark, key=lambda pair: pair.highest)
    files = [pair.image_file for pair in dark]
    what = f"highest value {brightest.highest} of {brightest.highest_possible}"
    return Doubt(
        "nearly-black",
        files[0],
        f"{_of_set(len(files), len(pairs))} pictures are nearly black: {what}{_also(files)}",
        "export them so that they use the range of their depth",
    )


def _perhaps_unturned(pairs: Sequence[PairTraits]) -> Doubt | None:
    files = [pair.label_file for pair in pairs if pair.perhaps_unturned]
    if not files:
        return None
    return Doubt(
        "label-perhaps-unturned",
        files[0],
        f"{_of_set(len(files), len(pairs))} images were turned as their EXIF says, and their labels' size cannot tell "
        f"whether those were turned too{_also(files)}",
        "look at the overlays; save images and labels upright, without an EXIF orientation",
    )


def _vanishing(pairs: Sequence[PairTraits], at_side_px: int | None) -> Doubt | None:
    files = [pair.label_file for pair in pairs if pair.vanished_lesions]
    if at_side_px is None or not files:
        return None
    lesions, vanished = sum(pair.lesion_count for pair in pairs), sum(pair.vanished_lesions for pair in pairs)
    return Doubt(
        "lesions-vanish",
        files[0],
        f"{_of_set(vanished, lesions)} lesions, in {_of_set(len(files), len(pairs))} pairs, have no pixel left at "
        f"{at_side_px} px{_also(files)}",
        "choose a preset with a larger side, or cut the pictures around their lesions",
    )
