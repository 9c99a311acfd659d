"""What a folder holds beside its pairs, in words: files that are not read, pictures of other uses, near misses."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from segsmith_shared.pairs.file_kinds import UnreadKind, has_telling_ending, suffix_of, unread_kind
from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Matching
from segsmith_shared.pairs.import_report import Finding, many

_LABELS_SHOWN = 4
_HOW_TO_LAY_OUT = (
    "put images into images/ and labels of the same names into masks/, or name labels X_mask beside X; "
    "docs/datasets.md lists the layouts"
)


def unread_files(files: Iterable[FoundFile]) -> list[Finding]:
    """A warning for each kind of file that may hold images or labels, but is not read as a picture, with its count."""
    by_kind: dict[tuple[str, UnreadKind], list[FoundFile]] = defaultdict(list)
    for file in files:
        kind = None if file.is_picture else unread_kind(file.location, file.path.name)
        if kind is not None:
            name = file.path.name
            called = f"{suffix_of(name)} file" if has_telling_ending(name) else "file without a telling ending"
            by_kind[called, kind].append(file)
    return [
        Finding(
            severity="warning",
            code="not-read",
            file=_common_folder(found),
            what=f"{_counted(len(found), called)} {'is' if len(found) == 1 else 'are'} not read: {kind.what}",
            what_to_do=kind.what_to_do,
        )
        for (called, kind), found in sorted(by_kind.items(), key=lambda item: (item[0][0], item[0][1].what))
    ]


def _counted(number: int, called: str) -> str:
    return f"{number} {called if number == 1 else called.replace('file', 'files', 1)}"


def endings(files: Iterable[FoundFile]) -> dict[str, int]:
    """How many of these files have each ending, the most frequent first; `no ending` for those without."""
    return dict(Counter(suffix_of(file.path.name) or "no ending" for file in files).most_common())


def asides(matching: Matching) -> list[Finding]:
    """A note for each other use that a layout knows of some of its pictures."""
    return [
        Finding(
            severity="note",
            code="left-alone",
            file=_common_folder(found),
            what=f"{many(len(found), 'picture')}: {what}",
        )
        for what, found in matching.asides.items()
    ]


def united(matching: Matching) -> list[Finding]:
    """One note where images have several label files: how many, with an example; they may be of two annotators."""
    several = [candidate for candidate in matching.candidates if len(candidate.labels) > 1]
    if not several:
        return []
    first = several[0]
    what = (
        f"{many(len(several), 'pair')} of {len(matching.candidates)} with several label files, which are united: "
        f"e.g. {first.name} of {', '.join(str(label.path) for label in first.labels[:_LABELS_SHOWN])}"
        f"{' …' if len(first.labels) > _LABELS_SHOWN else ''}"
    )
    advice = "where they are of several annotators or of different things, leave only those that count"
    return [Finding(severity="note", code="labels-united", file=str(first.label_path), what=what, what_to_do=advice)]


def no_layout(files: Sequence[FoundFile], near: Matching | None) -> Finding:
    """Why no two files make a pair: what comes nearest to a layout, and by which names image and label do not meet."""
    pictures = sum(file.is_picture for file in files)
    if near is None:
        what = f"none of {many(len(files), 'file')} is a picture" if files else "no files"
    elif near.images_alone and near.labels_alone:
        image, label = min(near.images_alone), min(near.labels_alone)
        what = (
            f"nearly the layout {near.layout!r}, with {many(len(near.images_alone), 'image')} and "
            f"{many(len(near.labels_alone), 'label')}, but no image goes by the name of a label: "
            f"e.g. {image.path} by {near.known_as[image]!r}, {label.path} by {near.known_as[label]!r}"
        )
    elif near.refused:
        what = f"{many(pictures, 'picture')} in the layout {near.layout!r}, but none that can be used"
    else:
        side, other = ("images", "labels") if near.images_alone else ("labels", "images")
        alone = [*near.images_alone, *near.labels_alone]
        what = (
            f"{many(pictures, 'picture')}, but no two files that belong together as image and label: all that could "
            f"be {side} have no {other}, e.g. {min(alone).path}"
        )
    advice = _HOW_TO_LAY_OUT if near is None else _choose_labels(near) or _HOW_TO_LAY_OUT
    return Finding(severity="error", code="no-layout", file=".", what=what, what_to_do=advice)


def _choose_labels(near: Matching) -> str:
    """What to do where every image has labels in several folders; empty where that is not so."""
    images = {file.stem.lower() for file in near.images_alone}
    stems: dict[PurePosixPath, set[str]] = defaultdict(set)
    for file in near.labels_alone:
        stems[file.path.parent].add(file.stem.lower())
    folders = sorted(
        str(folder) for folder, inside in stems.items() if images and 2 * len(images & inside) > len(images)
    )
    if len(folders) < 2:
        return ""
    return (
        f"{len(folders)} folders hold labels of these images, {' and '.join(folders[:_LABELS_SHOWN])}: keep the one "
        "that counts as masks/, or put all into masks/ as X_mask_1, X_mask_2, which unites them"
    )


def _common_folder(files: Sequence[FoundFile]) -> str:
    folders = [file.path.parent for file in files]
    return str(PurePosixPath(os.path.commonpath(folders))) if all(map(str, folders)) else "."
