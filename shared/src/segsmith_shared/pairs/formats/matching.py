"""Images find their labels: every layout says which role a file plays; here they are put together by their names."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.words import (
    Part,
    common_stem,
    without_label_word,
    without_numbered_label_word,
    without_picture_ending,
    without_words,
)
from segsmith_shared.pairs.import_report import Finding

MAXIMUM_NAME_CHARACTERS = 400


@dataclass(frozen=True)
class Role:
    """A file's part, what its path and its partner's have in common, and the sequence or patient it belongs to.

    `place` and `stem` keep their case, by which partners are looked for first. `loose_place` is tried where no partner
    has the same `place`. Labels that `unite` may be several of one image.
    """

    part: Part
    place: tuple[str, ...]
    stem: str
    sequence: str | None = None
    loose_place: tuple[str, ...] | None = None
    unites: bool = False


@dataclass(frozen=True)
class Aside:
    """A picture that is part of the layout and of no pair, and what it is instead."""

    what: str


RoleOf = Callable[[FoundFile], Role | Aside | None]


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
    """What a layout makes of a folder. `why` is a sentence for people.

    `certain`: its folders are called as published; `files_named`: so are the pictures themselves, beyond doubt.
    `known_as` is what files without a partner go by, less the words for their part. `refused` are findings about files
    that would be pairs, were it not for what each says; `asides` are pictures by what they are instead.
    """

    layout: str
    why: str
    certain: bool = False
    files_named: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    images_alone: list[FoundFile] = field(default_factory=list)
    labels_alone: list[FoundFile] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)
    asides: dict[str, list[FoundFile]] = field(default_factory=dict)
    ignored: list[FoundFile] = field(default_factory=list)
    known_as: dict[FoundFile, str] = field(default_factory=dict)


class Layout(Protocol):
    """A way in which people put pairs into folders."""

    name: str

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        """The pairs of these files, possibly none; None where nothing looks like this layout."""


def match_by_role(
    layout: str, why: str, files: Sequence[FoundFile], role_of: RoleOf, *, certain: bool = False
) -> Matching:
    """Put images and labels together, by equal names first, then by what is left of them without words like `mask`.

    Each step looks for the same letter case first, so that `ab` and `Ab` are two images where each has its label.
    """
    matching = Matching(layout, why, certain)
    roles: dict[FoundFile, Role] = {}
    for file in files:
        role = role_of(file) if file.is_picture else None
        if role is None:
            matching.ignored.append(file)
        elif isinstance(role, Aside):
            matching.asides.setdefault(role.what, []).append(file)
        else:
            roles[file] = role
    pairing = _Pairing(roles)
    pairing.run()
    negatives = [file for file, role in roles.items() if role.part is Part.NEGATIVE]
    found: dict[FoundFile, list[FoundFile]] = pairing.labels_of | {file: [] for file in negatives}
    names = unique_names(list(found))
    matching.candidates = sorted(
        (Candidate(names[image], image, tuple(labels), roles[image].sequence) for image, labels in found.items()),
        key=lambda candidate: candidate.name,
    )
    matching.images_alone = [file for file in pairing.open if roles[file].part is Part.IMAGE]
    matching.labels_alone = [file for file in pairing.open if roles[file].part is Part.LABEL]
    matching.known_as = {file: _known_as(roles[file]) for file in pairing.open}
    matching.refused = [_ambiguous(group) for group in pairing.ambiguous]
    return matching


def _known_as(role: Role) -> str:
    return "/".join(filter(None, (*role.place, common_stem(role.stem)))).lower()


def _ambiguous(group: Sequence[FoundFile]) -> Finding:
    first, *others = sorted(group)
    what = f"has the same name as {', '.join(str(file.path) for file in others)}"
    return Finding(
        severity="error", code="ambiguous", file=str(first.path), what=what, what_to_do="keep one of each kind"
    )


NameOf = Callable[[str], str | None]


def _whole(stem: str) -> str:
    return stem


# How image and label may share a name, from strict to loose; what a step pairs, no later one sees.
_STEPS: tuple[tuple[NameOf, NameOf], ...] = (
    (_whole, _whole),
    (_whole, without_label_word),
    (_whole, without_picture_ending),
    (common_stem, common_stem),
    (lambda stem: without_words(stem, Part.IMAGE), lambda stem: without_words(stem, Part.LABEL)),
)


@dataclass
class _Pairing:
    """Files on their way to partners; `open` are those without, in their order."""

    roles: dict[FoundFile, Role]
    labels_of: dict[FoundFile, list[FoundFile]] = field(default_factory=dict)
    ambiguous: list[list[FoundFile]] = field(default_factory=list)
    open: list[FoundFile] = field(default_factory=list)

    def run(self) -> None:
        self.open = [file for file, role in self.roles.items() if role.part is not Part.NEGATIVE]
        for place_of in (_place, _loose_place):
            for image_name, label_name in _STEPS:
                for fold in (_whole, str.lower):
                    self._pair(_key(place_of, image_name, fold), _key(place_of, label_name, fold))
            for fold in (_whole, str.lower):
                self._unite_numbered(_key(place_of, _whole, fold), _key(place_of, without_numbered_label_word, fold))

    def _pair(self, image_key: "KeyOf", label_key: "KeyOf") -> None:
        images, labels = self._by_key(Part.IMAGE, image_key), self._by_key(Part.LABEL, label_key)
        for key in images.keys() & labels.keys():
            self._join(images[key], labels[key], unite=all(self.roles[label].unites for label in labels[key]))
        self._close()

    def _unite_numbered(self, image_key: "KeyOf", label_key: "KeyOf") -> None:
        """Labels called `X_mask_1`, `X_mask_2` are further ones of X, whether or not it has an `X_mask`."""
        labels = self._by_key(Part.LABEL, label_key)
        if not labels:
            return
        images = self._by_key(Part.IMAGE, image_key, also=list(self.labels_of))
        for key in images.keys() & labels.keys():
            # the same number in two files, say .png and .jpg: no telling which counts
            once = len({file.stem.lower() for file in labels[key]}) == len(labels[key])
            self._join(images[key], labels[key], unite=once)
        self._close()

    def _join(self, images: list[FoundFile], labels: list[FoundFile], *, unite: bool) -> None:
        if len(images) == 1 and (len(labels) == 1 or unite):
            self.labels_of[images[0]] = [*self.labels_of.get(images[0], ()), *sorted(labels)]
        else:
            for image in images:
                labels = [*self.labels_of.pop(image, ()), *labels]
            self.ambiguous.append(images + labels)

    def _close(self) -> None:
        """Take what was settled out of the open files."""
        settled = {file for labels in self.labels_of.values() for file in labels} | self.labels_of.keys()
        settled |= {file for group in self.ambiguous for file in group}
        self.open = [file for file in self.open if file not in settled]

    def _by_key(
        self, part: Part, key_of: "KeyOf", also: Sequence[FoundFile] = ()
    ) -> dict[tuple[str, ...], list[FoundFile]]:
        found: dict[tuple[str, ...], list[FoundFile]] = defaultdict(list)
        for file in (*self.open, *also):
            role = self.roles[file]
            if role.part is part and (key := key_of(role)) is not None:
                found[key].append(file)
        return found


PlaceOf = Callable[[Role], tuple[str, ...]]
KeyOf = Callable[[Role], tuple[str, ...] | None]


def _key(place_of: PlaceOf, name_of: NameOf, fold: Callable[[str], str]) -> KeyOf:
    """What partners share: place and name, None where the name has not what `name_of` looks for."""

    def key_of(role: Role) -> tuple[str, ...] | None:
        name = name_of(role.stem)
        return None if name is None else (*map(fold, place_of(role)), fold(name))

    return key_of


def _place(role: Role) -> tuple[str, ...]:
    return role.place


def _loose_place(role: Role) -> tuple[str, ...]:
    return role.place if role.loose_place is None else role.loose_place


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
