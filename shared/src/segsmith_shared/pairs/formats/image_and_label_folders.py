"""`images/` beside `masks/`: the customary layout, at any depth and under any of the customary names."""

from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Matching, Role, common_stem, folder_role, match_by_role


class ImageAndLabelFolders:
    """Folders say what a file is; a label is called like its image, or like it with `_mask`."""

    name = "image and label folders"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        why = "folders named like images and like masks hold files of the same names"
        return match_by_role(self.name, why, files, role_by_folder)


def role_by_folder(file: FoundFile) -> Role | None:
    """The deepest folder with a telling name decides; the key is the path without the word, and the stem."""
    for depth in reversed(range(len(file.folders))):
        if role := folder_role(file.folders[depth]):
            part, rest = role
            folders = (*file.folders[:depth], rest, *file.folders[depth + 1 :])
            return Role(part, (*(folder.lower() for folder in folders), common_stem(file.stem)))
    return None
