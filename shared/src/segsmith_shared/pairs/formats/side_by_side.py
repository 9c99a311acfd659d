"""`X.jpg` and `X_mask.png` in one folder: the layout of many small exports, and of BUSI (which has further masks)."""

from collections import defaultdict
from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part, without_label_word, without_numbered_label_word


class SideBySide:
    """A label lies in its image's folder and says that it is one by `_mask`, `_seg`, `_label` or the like."""

    name = "side by side"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for file in files:
            if file.is_picture:
                stems[file.folders].add(file.stem.lower())
        bases = {folder: {base for stem in inside if (base := _base(stem))} for folder, inside in stems.items()}

        def role_of(file: FoundFile) -> Role:
            base = _base(file.stem)
            # "Seg 0" beside "Seg 0_mask" is an image that is called so, unless it labels an image "0"
            own_name = file.stem.lower() in bases[file.folders] and base not in stems[file.folders]
            part = Part.IMAGE if base is None or own_name else Part.LABEL
            return Role(part, file.folders, file.stem)

        why = "labels lie beside their images and are called like them with a word such as _mask"
        return match_by_role(self.name, why, files, role_of)


def _base(stem: str) -> str | None:
    """The image that a stem names as its own, `X_mask` and `X_mask_1` → `x`; None where it names none."""
    base = without_label_word(stem) or without_numbered_label_word(stem)
    return base and base.lower()
