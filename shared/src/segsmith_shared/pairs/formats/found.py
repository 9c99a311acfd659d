"""The files of a folder under names that can be compared, printed and stored, and what could not be looked at."""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from segsmith_shared.pairs.file_kinds import PICTURE_SUFFIXES, holds_picture, suffix_of, unread_kind
from segsmith_shared.pairs.import_report import Finding, Severity

MOST_LINKED_FOLDERS = 10_000
_LITTER = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", "@eadir", ".git"}
_TEXT_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".html", ".yaml", ".yml", ".py", ".ipynb"})


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
        """The name without the ending of a picture; a picture without one is called by its whole name."""
        return self.path.name if self._is_picture_by_content else self.path.stem

    @property
    def is_picture(self) -> bool:
        """By its ending or, where that says nothing, by its first bytes; reading it is what decides."""
        return self.path.suffix.lower() in PICTURE_SUFFIXES or self._is_picture_by_content

    @cached_property
    def _is_picture_by_content(self) -> bool:
        suffix = suffix_of(self.path.name)
        says_nothing = (
            suffix not in PICTURE_SUFFIXES | _TEXT_SUFFIXES and unread_kind(self.location, self.path.name) is None
        )
        return says_nothing and holds_picture(self.location)


@dataclass
class FolderListing:
    """The regular files below a folder, sorted by path, and a finding for all else that a person may miss."""

    files: list[FoundFile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def find_files(root: Path, *, follow_links: bool = True) -> FolderListing:
    """Every regular file below `root`; hidden files and what desktops leave behind are not looked at.

    Links to files and to folders are followed, as people do build folders of links, but not in circles (compared by
    device and inode) and to at most `MOST_LINKED_FOLDERS` folders. Without `follow_links`, for files from elsewhere,
    every link is a finding. What cannot be read is a finding too, never an error.
    """
    return _Walk(root, follow_links).listed()


Identity = tuple[int, int]


@dataclass(frozen=True)
class _Step:
    """A folder still to be looked into; `above` are the folders on the way to it."""

    folder: Path
    above: frozenset[Identity]
    through_link: bool


@dataclass
class _Walk:
    root: Path
    follow_links: bool
    listing: FolderListing = field(default_factory=FolderListing)
    linked_folders: int = 0
    pending: list["_Step"] = field(default_factory=list)

    def listed(self) -> FolderListing:
        """Folder by folder from a list of what is still to come: names may nest deeper than Python's stack."""
        self.pending.append(_Step(self.root, self._identities_above(), through_link=False))
        while self.pending:
            self._look_into(self.pending.pop())
        self.listing.files.sort()
        self.listing.findings.sort(key=lambda finding: finding.file)
        return self.listing

    def _identities_above(self) -> frozenset[Identity]:
        """The folders that the root lies in: a link to one of them leads back to the root."""
        return frozenset(identity for folder in self.root.resolve().parents if (identity := _identity(folder)))

    def _look_into(self, step: "_Step") -> None:
        identity = _identity(step.folder)
        inside = step.above | {identity} if identity else step.above
        for entry in self._entries(step.folder):
            location = step.folder / entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not step.through_link or self._may_enter_linked(location):
                        self.pending.append(_Step(location, inside, step.through_link))
                elif entry.is_symlink():
                    self._take_link(location, inside)
                else:
                    self._take_file(location, location.stat().st_mode)
            except OSError as error:
                self._cannot_read(location, error)

    def _entries(self, folder: Path) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._cannot_read(folder, error)
            return
        yield from (entry for entry in found if not _is_litter(entry.name))

    def _take_link(self, location: Path, above: frozenset[Identity]) -> None:
        if not self.follow_links:
            self._find("error", "link", location, "a link, which is not followed here", "put the files in its place")
            return
        try:
            mode = location.stat().st_mode
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ELOOP}:
                raise
            what = "a link that leads nowhere" if error.errno == errno.ENOENT else "a link that leads to itself"
            self._find("error", "dangling-link", location, what, "mend or remove it")
            return
        if not stat.S_ISDIR(mode):
            self._take_file(location, mode)
        elif _identity(location) in above:
            what = "a link to a folder that it lies in itself, not followed"
            self._find("warning", "circular-link", location, what, "remove it")
        elif self._may_enter_linked(location):
            self._find("note", "linked-folder", location, "a link to a folder, whose files are read")
            self.pending.append(_Step(location, above, through_link=True))

    def _may_enter_linked(self, location: Path) -> bool:
        self.linked_folders += 1
        if self.linked_folders > MOST_LINKED_FOLDERS:
            if self.linked_folders == MOST_LINKED_FOLDERS + 1:
                what = f"links lead to more than {MOST_LINKED_FOLDERS:,} folders; this one and the rest are not read"
                self._find("error", "too-many-links", location, what, "put the files themselves into the folder")
            return False
        return True

    def _take_file(self, location: Path, mode: int) -> None:
        if not stat.S_ISREG(mode):
            self._find("note", "no-file", location, "a pipe, a socket or a device, not read")
        elif not os.access(location, os.R_OK):
            self._cannot_read(location, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        else:
            self.listing.files.append(FoundFile(self._path(location), location))

    def _cannot_read(self, location: Path, error: OSError) -> None:
        what = f"cannot be read: {error.strerror or error}"
        self._find("error", "not-readable", location, what, "allow reading it (chmod), or take it out")

    def _find(self, severity: Severity, code: str, location: Path, what: str, what_to_do: str = "") -> None:
        finding = Finding(
            severity=severity, code=code, file=str(self._path(location)), what=what, what_to_do=what_to_do
        )
        self.listing.findings.append(finding)

    def _path(self, location: Path) -> PurePosixPath:
        return PurePosixPath(*map(_printable, location.relative_to(self.root).parts))


def _identity(folder: Path) -> Identity | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _printable(part: str) -> str:
    text = part.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "�" for c in unicodedata.normalize("NFC", text))
