"""DRIVE, HRF and CHASE DB1 as published: vessels drawn by hand, beside masks that only say where the retina is seen.

`images/21_training.tif`, `1st_manual/21_manual1.gif` and `mask/21_training_mask.gif`; `images/01_dr.JPG`,
`manual1/01_dr.tif` and `mask/01_dr_mask.tif`; `Image_01L.jpg`, `Image_01L_1stHO.png` and `Image_01L_2ndHO.png`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, match_by_role
from segsmith_shared.pairs.formats.words import Part

_MANUAL = re.compile(r"1st_?manual|manual_?1|manual")
_SECOND_MANUAL = re.compile(r"2nd_?manual|manual_?2")
_FIELD_OF_VIEW = re.compile(r"masks?|fov|field[ _-]of[ _-]view")
_OBSERVER = re.compile(r"(?P<stem>.+)_(?P<which>1st|2nd)ho")
_DRIVE_WORD = re.compile(r"(?P<stem>.+?)_(?:training|test|manual[12])")


# DRIVE's 21_training, HRF's 01_dr, CHASE DB1's Image_01L
_PUBLISHED_IMAGE = re.compile(r"\d+_(?:training|test|dr|g|h)|image_\d+[lr]")


class RetinalVessels:
    """Recognised by 1st_manual/, manual1/ or names ending in _1stHO. The second observer's labels are left alone.

    Where most images are not called as published, another layout that pairs more of them goes before it.
    """

    name = "retinal vessels (DRIVE, HRF, CHASE)"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        pictures = [file for file in files if file.is_picture]
        if any(_folder_part(file, _MANUAL) for file in pictures):
            why = "1st_manual/ or manual1/ holds the labels; mask/ is the field of view"
            return _with_names_looked_at(match_by_role(self.name, why, files, _role_by_folder, certain=True))
        if any((found := _OBSERVER.fullmatch(file.stem.lower())) and found["which"] == "1st" for file in pictures):
            why = "labels are called like their images with _1stHO, for the first observer"
            return _with_names_looked_at(match_by_role(self.name, why, files, _role_by_observer, certain=True))
        return None


def _with_names_looked_at(matching: Matching) -> Matching:
    images = [candidate.image for candidate in matching.candidates] + matching.images_alone
    published = sum(_PUBLISHED_IMAGE.fullmatch(image.stem.lower()) is not None for image in images)
    return replace(matching, files_named=2 * published > len(images))


def _folder_part(file: FoundFile, pattern: re.Pattern[str]) -> bool:
    return bool(file.folders) and pattern.fullmatch(file.folders[-1].lower()) is not None


def _role_by_folder(file: FoundFile) -> Role | Aside | None:
    if _folder_part(file, _FIELD_OF_VIEW):
        return Aside("fields of view, which are no labels")
    if _folder_part(file, _SECOND_MANUAL):
        return Aside("labels of a second observer")
    if not file.folders:
        return None
    part = Part.LABEL if _folder_part(file, _MANUAL) else Part.IMAGE
    word = _DRIVE_WORD.fullmatch(file.stem.lower())
    return Role(part, file.folders[:-1], word["stem"] if word else file.stem)


def _role_by_observer(file: FoundFile) -> Role | Aside:
    observer = _OBSERVER.fullmatch(file.stem.lower())
    if observer is None:
        return Role(Part.IMAGE, (), file.stem)
    if observer["which"] == "2nd":
        return Aside("labels of a second observer")
    return Role(Part.LABEL, (), observer["stem"])
