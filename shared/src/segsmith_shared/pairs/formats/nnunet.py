"""nnU-Net's raw datasets: `imagesTr/X_0000.png` and `labelsTr/X.png`, a file for each channel of an image.

https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part
from segsmith_shared.pairs.import_report import Finding

_FOLDER = re.compile(r"(?P<part>images|labels)(?P<split>tr|ts)")
_CHANNEL = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})")

Case = tuple[tuple[str, ...], str]


class NnUNet:
    """Recognised by imagesTr/ and labelsTr/. A case of several channels is refused: a picture here has one file."""

    name = "nnU-Net"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        if not any(_folder_depth(file) is not None for file in files):
            return None
        channels: dict[Case, list[FoundFile]] = defaultdict(list)
        for file in files:
            role = _role(file) if file.is_picture else None
            if role is not None and role.part is Part.IMAGE:
                channels[role.place, role.stem].append(file)
        several = {case: found for case, found in channels.items() if len(found) > 1}

        def role_of(file: FoundFile) -> Role | Aside | None:
            role = _role(file)
            return Aside("channels of one image") if role and (role.place, role.stem) in several else role

        why = "imagesTr/X_0000 and labelsTr/X, as nnU-Net keeps its datasets"
        matching = match_by_role(self.name, why, files, role_of, certain=True)
        matching.refused += [_refused(found) for found in several.values()]
        return matching


def _folder_depth(file: FoundFile) -> int | None:
    depths = (depth for depth in reversed(range(len(file.folders))) if _FOLDER.fullmatch(file.folders[depth].lower()))
    return next(depths, None)


def _role(file: FoundFile) -> Role | None:
    depth = _folder_depth(file)
    folder = None if depth is None else _FOLDER.fullmatch(file.folders[depth].lower())
    if folder is None:
        return None
    place = (*file.folders[:depth], folder["split"])
    if folder["part"] == "labels":
        return Role(Part.LABEL, place, file.stem)
    channel = _CHANNEL.fullmatch(file.stem)
    return Role(Part.IMAGE, place, channel["stem"] if channel else file.stem)


def _refused(channels: Sequence[FoundFile]) -> Finding:
    first, *others = sorted(channels)
    return Finding(
        severity="error",
        code="several-channels",
        file=str(first.path),
        what=f"one of {len(channels)} channels of one image, with {', '.join(file.path.name for file in others)}",
        what_to_do="save the channels that matter as one RGB or grey picture, X_0000",
    )
