"""nnU-Net's raw datasets: `imagesTr/X_0000.png` and `labelsTr/X.png`, a file for each channel of an image.

https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part
from segsmith_shared.pairs.import_report import Finding

_FOLDER = re.compile(r"(?P<part>images|labels)(?P<split>tr|ts)")
_CHANNEL = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})")

Case = tuple[tuple[str, ...], str]


class NnUNet:
    """Recognised by imagesTr/ and labelsTr/. A case of several channels is refused: a picture here has one file.

    The Medical Segmentation Decathlon and MONAI use the same folders, but give image and label the same name, so that
    `img_0001` is no channel there: what ends in four digits is one only where no label has the whole name.
    """

    name = "nnU-Net"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        if not any(_folder_depth(file) is not None for file in files):
            return None
        roles = _with_channels({file: role for file in files if file.is_picture and (role := _role(file))})
        channels: dict[Case, list[FoundFile]] = defaultdict(list)
        for file, role in roles.items():
            if role.part is Part.IMAGE and role.stem != file.stem:
                channels[role.place, role.stem].append(file)
        several = {case: found for case, found in channels.items() if len(found) > 1}

        def role_of(file: FoundFile) -> Role | Aside | None:
            role = roles.get(file)
            return Aside("channels of one image") if role and (role.place, role.stem) in several else role

        why = "imagesTr/X_0000 and labelsTr/X as nnU-Net keeps its datasets, or the same name in both folders"
        matching = match_by_role(self.name, why, files, role_of, certain=True)
        matching.refused += [_refused(found) for found in several.values()]
        return matching


def _with_channels(roles: dict[FoundFile, Role]) -> dict[FoundFile, Role]:
    """The roles with images under the names of their cases, `X_0000` as X, except where labels have the whole names.

    An image without any label is judged by the others of its case, then by those of its dataset.
    """
    labels = {(role.place, role.stem.lower()) for role in roles.values() if role.part is Part.LABEL}
    cases = {
        file: (role.place, channel["stem"])
        for file, role in roles.items()
        if role.part is Part.IMAGE and (channel := _CHANNEL.fullmatch(role.stem))
    }
    whole = {file for file in cases if (roles[file].place, file.stem.lower()) in labels}
    whole_cases = {cases[file] for file in whole}
    whole_datasets = {roles[file].place[:-1] for file in whole}

    def is_channel(place: tuple[str, ...], stem: str) -> bool:
        if (place, stem) in whole_cases:
            return False
        return (place, stem.lower()) in labels or place[:-1] not in whole_datasets

    channels = {file: case for file, case in cases.items() if is_channel(*case)}
    return roles | {file: replace(roles[file], stem=stem) for file, (_, stem) in channels.items()}


def _folder_depth(file: FoundFile) -> int | None:
    depths = (depth for depth in reversed(range(len(file.folders))) if _FOLDER.fullmatch(file.folders[depth].lower()))
    return next(depths, None)


def _role(file: FoundFile) -> Role | None:
    depth = _folder_depth(file)
    folder = None if depth is None else _FOLDER.fullmatch(file.folders[depth].lower())
    if folder is None:
        return None
    place = (*file.folders[:depth], folder["split"])
    return Role(Part.LABEL if folder["part"] == "labels" else Part.IMAGE, place, file.stem)


def _refused(channels: Sequence[FoundFile]) -> Finding:
    first, *others = sorted(channels)
    return Finding(
        severity="error",
        code="several-channels",
        file=str(first.path),
        what=f"one of {len(channels)} channels of one image, with {', '.join(file.path.name for file in others)}",
        what_to_do="save the channels that matter as one RGB or grey picture, X_0000",
    )
