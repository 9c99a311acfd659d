"""A folder as a tar archive that is never written: any range of it can be read, so it uploads in parts and resumes.

The same folder gives the same bytes every time (sorted names, no owners, no times), which is what makes resuming safe.
"""

import hashlib
import tarfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segsmith.problems import FolderNotFound, TransferBroken
from segsmith_shared.pairs.archives import check_archive
from segsmith_shared.pairs.formats import find_files
from segsmith_shared.pairs.import_report import Finding


class Archive(Protocol):
    """Bytes that can be sent in any order."""

    @property
    def filename(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def findings(self) -> Sequence[Finding]:
        """What lies in the source and is not in the archive: the server cannot know of it."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end. Raises TransferBroken when the source has changed."""
        ...


@dataclass(frozen=True)
class _Entry:
    """Header, content and padding of one file, starting at `offset` within the archive."""

    offset: int
    header: bytes
    path: Path | None
    content_bytes: int

    @property
    def padding_bytes(self) -> int:
        return -self.content_bytes % tarfile.BLOCKSIZE

    def read(self, start: int, length: int) -> bytes:
        """Bytes `start` … of this entry, at most `length` and at most to its end."""
        content_end = len(self.header) + self.content_bytes
        if start < len(self.header):
            return self.header[start : start + length]
        if start < content_end:
            return self._read_content(start - len(self.header), min(length, content_end - start))
        return bytes(min(length, content_end + self.padding_bytes - start))

    def _read_content(self, start: int, length: int) -> bytes:
        assert self.path is not None  # noqa: S101 - only the end of the archive has no file, and it has no content
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(length)
        except OSError as error:
            raise TransferBroken(f"{self.path}: {error.strerror}", hint="Make it readable and start again.") from error
        if len(data) != length:
            raise TransferBroken(
                f"{self.path} became shorter while it was sent.", hint="Leave it alone and start again."
            )
        return data


class PackedFolder:
    """The files of a folder (hidden ones left out) as a tar archive under their relative names.

    They are those that `segsmith dataset check` would read; `findings` are what it would report of all others.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FolderNotFound(f"{folder} is no folder.", hint="Name a folder of images and masks.")
        listing = find_files(folder)
        self.findings = listing.findings
        self.filename = f"{folder.resolve().name}.tar"
        self._entries: list[_Entry] = []
        offset = 0
        for path in sorted(file.location for file in listing.files):
            size_bytes = path.stat().st_size
            entry = _Entry(offset, _header(path.relative_to(folder).as_posix(), size_bytes), path, size_bytes)
            self._entries.append(entry)
            offset += len(entry.header) + size_bytes + entry.padding_bytes
        if not self._entries:
            why = "; ".join(f"{finding.file}: {finding.what}" for finding in self.findings[:3])
            raise FolderNotFound(
                f"{folder} has no files in it that can be read.{f' {why}.' if why else ''}",
                hint="Name a folder of images and masks.",
            )
        self.file_count = len(self._entries)
        end = _Entry(offset, bytes(2 * tarfile.BLOCKSIZE), None, 0)
        self._entries.append(end)
        self._offsets = [entry.offset for entry in self._entries]
        self.size_bytes = offset + len(end.header)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end. Raises TransferBroken when a file has changed."""
        pieces = []
        end = min(offset + length, self.size_bytes)
        while offset < end:
            entry = self._entries[bisect_right(self._offsets, offset) - 1]
            piece = entry.read(offset - entry.offset, end - offset)
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)


class ArchiveFile:
    """An archive that is there already."""

    findings: Sequence[Finding] = ()

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FolderNotFound(f"{path} does not exist.")
        self.path = path
        self.filename = path.name
        self.size_bytes = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != min(length, self.size_bytes - offset):
            raise TransferBroken(
                f"{self.path} became shorter while it was sent.", hint="Leave it alone and start again."
            )
        return data


def archive_of(path: Path) -> Archive:
    """A folder packed while it is read, or an archive file as it is.

    Raises FolderNotFound and, for an archive that the server could not unpack, what `check_archive` raises.
    """
    if path.is_dir():
        return PackedFolder(path)
    archive = ArchiveFile(path)
    check_archive(path)
    return archive


def sha256_of(archive: Archive, chunk_bytes: int = 2**20) -> str:
    """Hexadecimal SHA-256 of the whole archive."""
    digest = hashlib.sha256()
    for offset in range(0, archive.size_bytes, chunk_bytes):
        digest.update(archive.read(offset, chunk_bytes))
    return digest.hexdigest()


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
