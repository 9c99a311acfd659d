"""Which file is whose label: one module per published or customary layout, recognised from names alone."""

from collections.abc import Sequence

from segsmith_shared.pairs.formats.cvc_clinicdb import CvcClinicDb
from segsmith_shared.pairs.formats.found import FoundFile, find_files
from segsmith_shared.pairs.formats.image_and_label_folders import ImageAndLabelFolders
from segsmith_shared.pairs.formats.kvasir_seg import KvasirSeg
from segsmith_shared.pairs.formats.matching import Candidate, Layout, Matching
from segsmith_shared.pairs.formats.polypgen import PolypGen
from segsmith_shared.pairs.formats.side_by_side import SideBySide

__all__ = ["LAYOUTS", "Candidate", "FoundFile", "Layout", "Matching", "find_files", "recognise"]

# Published ones first: of two that find as many pairs, the earlier says more about the data.
LAYOUTS: tuple[Layout, ...] = (PolypGen(), CvcClinicDb(), KvasirSeg(), ImageAndLabelFolders(), SideBySide())


def recognise(files: Sequence[FoundFile]) -> Matching | None:
    """The layout that pairs most of these files, or None where none finds a single pair.

    A published layout that knows its own marks (`Matching.certain`) is believed at once.
    """
    matchings = [matching for layout in LAYOUTS if (matching := layout.match(files)) is not None]
    certain = [matching for matching in matchings if matching.certain]
    return max(certain or matchings, key=lambda matching: len(matching.candidates), default=None)
