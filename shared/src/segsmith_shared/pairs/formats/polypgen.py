"""PolypGen as published on Synapse: a folder per centre, then sequences of frames with and without polyps.

`data_C1/images_C1/X.jpg` with `data_C1/masks_C1/X_mask.jpg`, `sequenceData/positive/seq1/{images,masks}_seq1/`,
`sequenceData/negativeOnly/seq1_neg/`. `imagesAll_positive/` repeats the centres' images and `bbox_image_C1/` shows them
with boxes drawn in: both are left alone.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.image_and_label_folders import role_by_folder
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part

_CENTRE = re.compile(r"data_c\d+")
_REPEATED = re.compile(r"imagesall_.*")
_BOXES = re.compile(r"bbox.*")
_SEQUENCE = re.compile(r"seq\d+(?:_neg)?")


class PolypGen:
    """Recognised by folders data_C1 … data_C6 or sequenceData/. Frames of one sequence stay together in every split."""

    name = "PolypGen"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        folders = {folder.lower() for file in files for folder in file.folders}
        if not any(_CENTRE.fullmatch(folder) for folder in folders) and "sequencedata" not in folders:
            return None
        why = "per-centre folders data_C1 … or sequenceData/"
        return match_by_role(self.name, why, files, _role, certain=True)


def _role(file: FoundFile) -> Role | Aside | None:
    folders = [folder.lower() for folder in file.folders]
    if any(_REPEATED.fullmatch(folder) for folder in folders):
        return Aside("the centres' images once more")
    if any(_BOXES.fullmatch(folder) for folder in folders):
        return Aside("images with boxes drawn in")
    sequence = next((folder for folder in folders if _SEQUENCE.fullmatch(folder)), None)
    if any(folder.startswith("negative") for folder in folders):
        return Role(Part.NEGATIVE, file.folders, file.stem, sequence)
    role = role_by_folder(file)
    return role and replace(role, sequence=sequence)
