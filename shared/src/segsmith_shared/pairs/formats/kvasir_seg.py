"""Kvasir-SEG as Simula publishes it: `images/` and `masks/`, JPEG both, named by random identifiers."""

import re
from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.image_and_label_folders import role_by_folder
from segsmith_shared.pairs.formats.matching import Matching, match_by_role

_IDENTIFIER = re.compile(r"c[jk][a-z0-9]{23}")


class KvasirSeg:
    """Recognised by the names: 25 characters beginning with cj or ck, given by its authors' labelling tool."""

    name = "Kvasir-SEG"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        pictures = [file for file in files if file.is_picture]
        named_so = sum(_IDENTIFIER.fullmatch(file.stem) is not None for file in pictures)
        if not pictures or named_so < 0.9 * len(pictures):
            return None
        why = "images/ and masks/ hold JPEG files with Kvasir's 25-character names"
        return match_by_role(self.name, why, files, role_by_folder)
