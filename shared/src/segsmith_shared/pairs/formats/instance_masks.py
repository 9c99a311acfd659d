"""One label file per object, as in the Data Science Bowl of 2018: `<id>/images/<id>.png`, `<id>/masks/*.png`.

Also `images/X.png` with a folder of labels for each image, `masks/X/*.png`.
"""

from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.image_and_label_folders import role_by_folder
from segsmith_shared.pairs.formats.matching import Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part


class InstanceMasks:
    """Recognised by folders called like the image whose labels they hold, or hold beside it. The labels are united."""

    name = "a folder of labels for each image"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        why = "each image has a folder of label files that is called like it; they are united"
        return match_by_role(self.name, why, files, _role)


def _role(file: FoundFile) -> Role | None:
    role = role_by_folder(file)
    if role is None:
        return None
    place = tuple(folder for folder in role.place if folder)
    if role.part is Part.IMAGE:
        # <id>/images/<id> and images/X are both looked for where the folder <id> or X would lie
        own_folder = bool(place) and place[-1].lower() == file.stem.lower()
        return Role(Part.IMAGE, place[:-1] if own_folder else place, file.stem)
    return Role(Part.LABEL, place[:-1], place[-1], unites=True) if place else None
