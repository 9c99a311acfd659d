"""The files of a folder under names that can be compared, printed and stored."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segsmith_shared.pairs.intake import PICTURE_SUFFIXES

_LITTER = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", "@eadir", ".git"}


@dataclass(frozen=True, order=True)
class FoundFile:
    """A regular file: `path` within the folder (NFC, printable UTF-8), `location` on disk as it really is called."""

    path: PurePosixPath
    location: Path

    @property
    def folders(self) -> tuple[str, ...]:
        return self.path.parts[:-1]

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def is_picture(self) -> bool:
        """By its ending alone; what it really holds is found out when it is read."""
        return self.path.suffix.lower() in PICTURE_SUFFIXES


def find_files(root: Path) -> list[FoundFile]:
    """Every regular file below `root`, sorted by path; hidden files and what desktops leave behind are not looked at.

    A link to a file is followed, as people do build folders of links; a link to a folder is not: it may be a circle.
    """
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not _is_litter(name)]
        for name in names:
            location = Path(folder, name)
            if not _is_litter(name) and location.is_file():
                found.append(FoundFile(PurePosixPath(*map(_printable, location.relative_to(root).parts)), location))
    return sorted(found)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _printable(part: str) -> str:
    text = part.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "�" for c in unicodedata.normalize("NFC", text))
