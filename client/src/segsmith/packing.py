"""A folder as a tar archive that is never written: any range of it can be read, so it uploads in parts and resumes.

The same folder gives the same bytes every time (sorted names, no owners, no times), which is what makes resuming safe.
"""

import hashlib
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segsmith.problems import FolderNotFound, TransferBroken

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


class Archive(Protocol):
    """Bytes that can be sent in any order."""

    @property
    def filename(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

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
    """The files of a folder (hidden ones left out) as a tar archive under their relative names."""

    def __init__(self, folder: Path) -> None:
        self.filename = f"{folder.resolve().name}.tar"
        self._entries: list[_Entry] = []
        offset = 0
        for path in _files_of(folder):
            size_bytes = path.stat().st_size
            entry = _Entry(offset, _header(path.relative_to(folder).as_posix(), size_bytes), path, size_bytes)
            self._entries.append(entry)
            offset += len(entry.header) + size_bytes + entry.padding_bytes
        if not self._entries:
            raise FolderNotFound(
                f"{folder} is no folder, or has no files in it.", hint="Name a folder of images and masks."
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
    """A folder packed while it is read, or an archive file as it is. Raises FolderNotFound."""
    return PackedFolder(path) if path.is_dir() else ArchiveFile(path)


def sha256_of(archive: Archive, chunk_bytes: int = 2**20) -> str:
    """Hexadecimal SHA-256 of the whole archive."""
    digest = hashlib.sha256()
    for offset in range(0, archive.size_bytes, chunk_bytes):
        digest.update(archive.read(offset, chunk_bytes))
    return digest.hexdigest()


def _files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
