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


def recognise(files: Sequence[FoundFile]) -> Matching | None:
    """The layout that pairs most of these files, or None where none finds a single pair.

    A published layout that knows its own marks (`Matching.certain`) is believed at once.
    """
    matchings = [matching for matching in _matchings(files) if matching.candidates]
    certain = [matching for matching in matchings if matching.certain]
    return max(certain or matchings, key=lambda matching: len(matching.candidates), default=None)


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
