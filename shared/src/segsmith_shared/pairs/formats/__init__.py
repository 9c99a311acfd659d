"""Which file is whose label: one module per published or customary layout, recognised from names alone."""

from collections.abc import Sequence

from segsmith_shared.pairs.formats.cvc_clinicdb import CvcClinicDb
from segsmith_shared.pairs.formats.found import FolderListing, FoundFile, find_files
from segsmith_shared.pairs.formats.image_and_label_folders import ImageAndLabelFolders
from segsmith_shared.pairs.formats.instance_masks import InstanceMasks
from segsmith_shared.pairs.formats.isic import Isic
from segsmith_shared.pairs.formats.kvasir_seg import KvasirSeg
from segsmith_shared.pairs.formats.matching import Candidate, Layout, Matching
from segsmith_shared.pairs.formats.nnunet import NnUNet
from segsmith_shared.pairs.formats.polypgen import PolypGen
from segsmith_shared.pairs.formats.retinal_vessels import RetinalVessels
from segsmith_shared.pairs.formats.side_by_side import SideBySide

__all__ = [
    "LAYOUTS",
    "Candidate",
    "FolderListing",
    "FoundFile",
    "Layout",
    "Matching",
    "find_files",
    "nearest",
    "recognise",
]

# Published ones first: of two that find as many pairs, the earlier says more about the data.
LAYOUTS: tuple[Layout, ...] = (
    PolypGen(),
    CvcClinicDb(),
    Isic(),
    NnUNet(),
    RetinalVessels(),
    KvasirSeg(),
    ImageAndLabelFolders(),
    SideBySide(),
    InstanceMasks(),
)


KNOWN_SHARE = 0.9
"""Share of another layout's images that a published layout must account for to be believed by its folders' names."""


def recognise(files: Sequence[FoundFile]) -> Matching | None:
    """The layout that pairs most of these files, or None where none finds a single pair.

    A published layout that knows its own marks (`Matching.certain`) is believed at once, unless another one pairs many
    images of which it knows nothing: two hand corrections in `manual/` say nothing against `images/` and `masks/`.
    """
    matchings = [matching for matching in _matchings(files) if matching.candidates]
    certain = [matching for matching in matchings if matching.certain and _holds(matching, matchings)]
    return max(certain or matchings, key=lambda matching: len(matching.candidates), default=None)


def _holds(certain: Matching, matchings: Sequence[Matching]) -> bool:
    """Whether a layout by its folders pairs, or knows the use of, nearly all images that any other would pair."""
    if certain.files_named:
        return True
    known = {candidate.image for candidate in certain.candidates}
    known |= {file for found in certain.asides.values() for file in found}
    images_of_each = ([candidate.image for candidate in matching.candidates] for matching in matchings)
    return all(sum(image in known for image in images) >= KNOWN_SHARE * len(images) for images in images_of_each)


def nearest(files: Sequence[FoundFile]) -> Matching | None:
    """Where `recognise` finds nothing: the layout that came closest, None where nothing looks like any.

    That is one which refuses files it knows, else the one that tells most images and labels apart.
    """

    def closeness(matching: Matching) -> tuple[int, int, bool]:
        return len(matching.refused), min(len(matching.images_alone), len(matching.labels_alone)), matching.certain

    near = (each for each in _matchings(files) if each.refused or each.images_alone or each.labels_alone)
    return max(near, key=closeness, default=None)


def _matchings(files: Sequence[FoundFile]) -> list[Matching]:
    return [matching for layout in LAYOUTS if (matching := layout.match(files)) is not None]
