"""The ISIC challenges of 2016 to 2018 as unzipped: `…_Training_Input/` or `…_Training_Data/` and `…_GroundTruth/`."""

import re
from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part

_FOLDER = re.compile(r".*isic.*_(?P<split>training|validation|test)_(?:.*_)?(?P<part>input|data|groundtruth)(?:_v\d)?")
_LABEL_STEM = re.compile(r"(?P<stem>isic_\d+(?:_downsampled)?)_segmentation", re.IGNORECASE)


class Isic:
    """Recognised by the folders' names. Attribute masks and superpixels of its other tasks are left alone."""

    name = "ISIC"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        if not any(_folder(file) for file in files):
            return None
        why = "folders …_Training_Input and …_GroundTruth, labels named …_segmentation"
        return match_by_role(self.name, why, files, _role, certain=True)


def _folder(file: FoundFile) -> re.Match[str] | None:
    found = (_FOLDER.fullmatch(folder.lower()) for folder in reversed(file.folders))
    return next((match for match in found if match), None)


def _role(file: FoundFile) -> Role | Aside | None:
    folder = _folder(file)
    if folder is None:
        return None
    if folder["part"] == "groundtruth":
        label = _LABEL_STEM.fullmatch(file.stem)
        return Role(Part.LABEL, (folder["split"],), label["stem"]) if label else Aside("labels of another ISIC task")
    if file.stem.lower().endswith("_superpixels"):
        return Aside("superpixels")
    return Role(Part.IMAGE, (folder["split"],), file.stem)
