"""`images/` beside `masks/`: the customary layout, at any depth and under any of the customary names."""

import re
from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part, folder_role, labelled_sibling

_DRAWINGS = re.compile(r"(?:segmentation|label|mask)[ _-]?(?:class|object)?[ _-]?visuali[sz]ations?|visuali[sz]ations?")


class ImageAndLabelFolders:
    """Folders say what a file is; a label is called like its image, or like it with `_mask`.

    `train/` beside `train_masks/` says it too, and so do `img_dir/` and `ann_dir/`, `JPEGImages/` and
    `SegmentationClass/` or `SegmentationClassPNG/`.
    """

    name = "image and label folders"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        why = "folders named like images and like masks hold files of the same names"
        folders = {tuple(folder.lower() for folder in file.folders) for file in files if file.is_picture}
        folders |= {folder[:depth] for folder in folders for depth in range(1, len(folder))}
        siblings = _Siblings(folders)
        return match_by_role(self.name, why, files, siblings.role_of)


class _Siblings:
    """Roles by folders' names and, for folders like `train/`, by a `train_masks/` beside them."""

    def __init__(self, folders: set[tuple[str, ...]]) -> None:
        self._labels = {
            folder: (*folder[:-1], sibling)
            for folder in folders
            if (sibling := labelled_sibling(folder[-1] if folder else "")) and (*folder[:-1], sibling) in folders
        }
        self._images = set(self._labels.values())

    def role_of(self, file: FoundFile) -> Role | Aside | None:
        folders = tuple(folder.lower() for folder in file.folders)
        if any(_DRAWINGS.fullmatch(folder) for folder in folders):
            return Aside("drawings of labels over images")
        for depth in reversed(range(len(folders))):
            here, above, below = folders[: depth + 1], file.folders[:depth], file.folders[depth + 1 :]
            if sibling := self._labels.get(here):
                return _role(Part.LABEL, _place((*above, sibling[-1])), below, file)
            if role := folder_role(here[-1]):
                return _role(role[0], _place((*above, here[-1])), below, file)
            if here in self._images:
                return _role(Part.IMAGE, (*above, here[-1]), below, file)
        return None


def role_by_folder(file: FoundFile) -> Role | None:
    """The deepest folder with a telling name decides; the place is the path without the word."""
    for depth in reversed(range(len(file.folders))):
        if role := folder_role(file.folders[depth]):
            return _role(role[0], _place(file.folders[: depth + 1]), file.folders[depth + 1 :], file)
    return None


def _place(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The path to a folder whose own name is without the word for its part."""
    role = folder_role(folders[-1])
    return (*folders[:-1], role[1] if role else folders[-1])


def _role(part: Part, place: tuple[str, ...], below: tuple[str, ...], file: FoundFile) -> Role:
    whole = (*place, *below)
    return Role(part, whole, file.stem, loose_place=_without_telling_names(whole))


def _without_telling_names(place: tuple[str, ...]) -> tuple[str, ...]:
    """What is left of `images/images/`, `masks/masks/` and the like: only what tells places apart."""
    bare = [role[1] if (role := folder_role(folder)) else folder for folder in place]
    return tuple(folder for folder in bare if folder)
