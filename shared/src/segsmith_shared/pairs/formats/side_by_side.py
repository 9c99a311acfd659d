"""`X.jpg` and `X_mask.png` in one folder: the layout of many small exports, and of BUSI and ISIC."""

from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Matching, Part, Role, common_stem, has_label_affix, match_by_role


class SideBySide:
    """A label lies in its image's folder and says that it is one by `_mask`, `_seg`, `_label` or the like."""

    name = "side by side"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        why = "labels lie beside their images and are called like them with a word such as _mask"
        return match_by_role(self.name, why, files, _role)


def _role(file: FoundFile) -> Role:
    part = Part.LABEL if has_label_affix(file.stem) else Part.IMAGE
    return Role(part, (*file.folders, common_stem(file.stem)))
