"""Images find their labels: every layout says which role a file plays, by what key; here they are put together."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Protocol

from segsmith_shared.pairs.formats.found import FoundFile

MAXIMUM_NAME_CHARACTERS = 400


class Part(StrEnum):
    """What a file is to a pair. `NEGATIVE` is a picture that its publisher says has no lesion, hence no label."""

    IMAGE = "image"
    LABEL = "label"
    NEGATIVE = "negative"


@dataclass(frozen=True)
class Role:
    """A file's part, the key it shares with its partner, and the sequence of frames or patient it belongs to."""

    part: Part
    key: tuple[str, ...]
    sequence: str | None = None


RoleOf = Callable[[FoundFile], Role | None]


@dataclass(frozen=True)
class Candidate:
    """An image and its label files, which belong together by their names, under a name unique within the folder.

    Several labels are united. None at all: a negative picture, which its publisher says has no lesion.
    """

    name: str
    image: FoundFile
    labels: tuple[FoundFile, ...]
    sequence: str | None = None

    @property
    def label_path(self) -> PurePosixPath:
        """Where to look when the label is at fault: the first label file, of a negative the image."""
        return self.labels[0].path if self.labels else self.image.path


@dataclass
class Matching:
    """What a layout makes of a folder. `why` is a sentence for people."""

    layout: str
    why: str
    certain: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    images_alone: list[FoundFile] = field(default_factory=list)
    labels_alone: list[FoundFile] = field(default_factory=list)
    ambiguous: list[list[FoundFile]] = field(default_factory=list)
    negatives: list[FoundFile] = field(default_factory=list)
    ignored: list[FoundFile] = field(default_factory=list)


class Layout(Protocol):
    """A way in which people put pairs into folders."""

    name: str

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        """The pairs of these files, or None where there are none of this layout."""


def match_by_role(
    layout: str, why: str, files: Sequence[FoundFile], role_of: RoleOf, *, certain: bool = False
) -> Matching | None:
    """Group the pictures by key; one image and one label make a candidate. None when no two belong together."""
    matching = Matching(layout, why, certain)
    groups: dict[tuple[str, ...], dict[Part, list[FoundFile]]] = defaultdict(lambda: defaultdict(list))
    sequences: dict[FoundFile, str | None] = {}
    for file in files:
        role = role_of(file) if file.is_picture else None
        if role is None:
            matching.ignored.append(file)
        elif role.part is Part.NEGATIVE:
            matching.negatives.append(file)
        else:
            groups[role.key][role.part].append(file)
            sequences[file] = role.sequence
    paired: list[tuple[FoundFile, FoundFile]] = []
    for group in groups.values():
        images, labels = group[Part.IMAGE], group[Part.LABEL]
        if len(images) == 1 == len(labels):
            paired.append((images[0], labels[0]))
        elif images and labels:
            matching.ambiguous.append(sorted(images + labels))
        else:
            matching.images_alone += images
            matching.labels_alone += labels
    names = unique_names([image for image, _ in paired])
    matching.candidates = sorted(
        (Candidate(names[image], image, (label,), sequences[image]) for image, label in paired), key=lambda c: c.name
    )
    return matching if paired else None


def unique_names(images: Sequence[FoundFile]) -> dict[FoundFile, str]:
    """The stem where that tells images apart; otherwise with as many of the folders as needed, then with a number."""
    names: dict[FoundFile, str] = {}
    open_files, depth = list(images), 0
    while open_files:
        by_name = defaultdict(list)
        for file in open_files:
            folders = file.folders[len(file.folders) - depth :] if depth else ()
            by_name["/".join((*folders, file.stem))[-MAXIMUM_NAME_CHARACTERS:]].append(file)
        taken = set(names.values())
        exhausted = depth >= max(len(file.folders) for file in open_files)
        open_files = []
        for name, sharers in by_name.items():
            if len(sharers) == 1 and name not in taken:
                names[sharers[0]] = name
            elif exhausted:
                names |= {file: f"{name[-MAXIMUM_NAME_CHARACTERS + 8 :]} ({n})" for n, file in enumerate(sharers, 1)}
            else:
                open_files += sharers
        depth += 1
    return names


_IMAGE_WORDS = "images|image|imgs|img|originals|original|frames|frame|photos|photo|inputs|input"
_LABEL_WORDS = (
    "masks|mask|labels|label|segmentations|segmentation|seg|annotations|annotation|groundtruth|ground[ _-]truth|gt"
    "|targets|target"
)
_ROLE_FOLDER = re.compile(
    rf"(?:(?P<image>{_IMAGE_WORDS}|jpegimages|pngimages)|(?P<label>{_LABEL_WORDS}|segmentationclass))"
    r"(?P<rest>(?:[ _-].*)?)"
)
# At the end of a folder's name only words that mean nothing else: "Kvasir-SEG" is no folder of labels.
_ROLE_FOLDER_AT_END = re.compile(r"(?P<rest>.*)[ _-](?:(?P<image>images|image|imgs)|(?P<label>masks|mask|labels))")


def _affix(words: str) -> re.Pattern[str]:
    """One of the words after the stem (`X_mask`) or before it (`mask_X`, `mask12`)."""
    return re.compile(rf"(?P<stem>.+)[ _.-](?:{words})|(?:{words})(?:[ _.-]+|(?=[\d(]))(?P<tail>.+)")


_LABEL_AFFIX, _IMAGE_AFFIX = _affix(_LABEL_WORDS), _affix(_IMAGE_WORDS)


def folder_role(folder: str) -> tuple[Part, str] | None:
    """A folder's part and the rest of its name: `images_C1` → (image, "c1"), `Ground Truth` → (label, "")."""
    found = _ROLE_FOLDER.fullmatch(folder.lower()) or _ROLE_FOLDER_AT_END.fullmatch(folder.lower())
    if found is None:
        return None
    return Part.IMAGE if found["image"] else Part.LABEL, found["rest"].strip(" _-")


def has_label_affix(stem: str) -> bool:
    """Whether a file's stem says that it is a label: `X_mask`, `X-seg`, `mask_X`."""
    return _LABEL_AFFIX.fullmatch(stem.lower()) is not None


def common_stem(stem: str) -> str:
    """What image and label share: the stem in lower case without the words for either part, `IMG_7_Mask` → `7`."""
    bare = stem.lower()
    for affix in (_LABEL_AFFIX, _IMAGE_AFFIX):
        if found := affix.fullmatch(bare):
            bare = found["stem"] or found["tail"]
    return bare
