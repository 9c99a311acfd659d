"""Archives from strangers are unpacked entry by entry: inside the folder, within limits, ordinary files only.

`extract_archive` runs the unpacking in a limited child process, because header fields alone can make Python's own
readers take gigabytes (a tar's extended header, an xz dictionary). What is left out is named, never silently dropped.
"""

import bz2
import errno
import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from segsmith_shared.pairs.limited import ChildDied, LimitedProcess, ProcessLimits, serve
from segsmith_shared.problems import InvalidInput, Problem, ServiceUnavailable, TooLarge

OnBytes = Callable[[int], None]

_CHUNK_BYTES = 2**20
_PACK_AGAIN = "Pack the folder again and upload it whole, or give the folder itself."
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, KeyError, IndexError, tarfile.TarError,
           zipfile.BadZipFile, BadGzipFile, NotImplementedError, RuntimeError, UnicodeError)  # fmt: skip


class NotAnArchive(InvalidInput):
    """Neither zip nor tar."""

    title = "The upload is no archive"


class BrokenArchive(InvalidInput):
    """The archive ends early or contradicts itself; nothing of it is used."""

    title = "The archive cannot be unpacked"


class EncryptedArchive(InvalidInput):
    """The archive asks for a password."""

    title = "The archive is encrypted"


class UnsupportedCompression(InvalidInput):
    """A zip uses a method of compression that Python cannot read."""

    title = "The archive's compression is not supported"


class DiskFull(ServiceUnavailable):
    """There is no room for what the archive holds; another attempt may find some."""

    title = "The disk is full"


class ArchiveTooLarge(TooLarge):
    """Unpacked, the archive exceeds the limit on entries, bytes, or growth."""

    title = "The archive unpacks to too much"


_PROBLEMS = {
    kind.__name__: kind
    for kind in (NotAnArchive, BrokenArchive, EncryptedArchive, UnsupportedCompression, ArchiveTooLarge, DiskFull)
}
_READABLE_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
# APPNOTE.TXT 4.4.5 of PKWARE
_METHODS = {9: "Deflate64, as Windows Explorer writes it beyond 2 GB", 93: "Zstandard", 95: "XZ", 98: "PPMd"}


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may become.

    The growth limit, unpacked over packed, counts only beyond `growth_free_bytes`: masks and blank pictures shrink a
    thousandfold honestly, but never to gigabytes.
    """

    maximum_entries: int = 200_000
    maximum_bytes: int = 100 * 2**30
    maximum_growth: float = 100.0
    growth_free_bytes: int = 2**29
    maximum_name_bytes: int = 1024


@dataclass(frozen=True)
class Skipped:
    """An entry that was not unpacked, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Extraction:
    """What came out of an archive."""

    files: int
    total_bytes: int
    skipped: list[Skipped] = field(default_factory=list)


def extract_archive(
    archive: Path, into: Path, limits: ArchiveLimits | None = None, on_bytes: OnBytes | None = None
) -> Extraction:
    """Unpack a zip or a tar (plain, gz, bz2, xz) into the folder `into`, which is made, in a limited child process.

    `on_bytes(total)` hears how many bytes are out; whatever it raises ends the unpacking. Links, devices, and entries
    whose name leaves the folder or collides with another are skipped and named.
    Raises NotAnArchive, BrokenArchive, EncryptedArchive, UnsupportedCompression, ArchiveTooLarge, DiskFull.
    """
    limits = limits or ArchiveLimits()
    into.mkdir(parents=True, exist_ok=True)
    bounds = ProcessLimits(
        memory_bytes=2**30, cpu_seconds=6 * 3600, clock_seconds=24 * 3600, file_bytes=limits.maximum_bytes
    )
    request = {"archive": str(archive.absolute()), "into": str(into.absolute()), "limits": asdict(limits)}
    with LimitedProcess(__name__, bounds) as child:
        try:
            head, _ = child.ask(request, lambda note: on_bytes(note["bytes"]) if on_bytes else None)
        except ChildDied as death:
            raise BrokenArchive(f"The unpacking process {death}", hint="Pack the folder again.") from death
    if "problem" in head:
        raise _PROBLEMS[head["problem"]](head["detail"], hint=head["hint"])
    return Extraction(head["files"], head["total_bytes"], [Skipped(**skipped) for skipped in head["skipped"]])


def check_archive(archive: Path) -> None:
    """Whether a local archive can be unpacked, as far as its beginning and a zip's directory say: before an upload.

    Raises NotAnArchive, BrokenArchive, EncryptedArchive, UnsupportedCompression.
    """
    with archive.open("rb") as stream:
        if _kind_of(stream) == "zip":
            try:
                with zipfile.ZipFile(stream) as opened:
                    _check_zip(opened)
            except zipfile.BadZipFile as damage:
                raise BrokenArchive(str(damage), hint=_PACK_AGAIN) from damage


@dataclass(frozen=True)
class _Entry:
    """An ordinary file of an archive, or one with a reason to be left out."""

    name: str
    why_not: str | None
    open: Callable[[], IO[bytes]]


class Unpacking:
    """One archive on its way into one folder, counting against the limits. The work of the child process."""

    def __init__(self, archive: Path, into: Path, limits: ArchiveLimits, on_bytes: OnBytes) -> None:
        self._archive, self._into, self._limits, self._on_bytes = archive, into, limits, on_bytes
        self._packed_bytes = archive.stat().st_size
        self._names: set[str] = set()
        self._files = self._entries = self._total_bytes = 0
        self._skipped: list[Skipped] = []

    def run(self) -> Extraction:
        """Unpack everything that may be. Raises what `extract_archive` documents."""
        try:
            for entry in _entries(self._archive):
                self._count_entry()
                self._take(entry)
        except Problem:
            raise
        except _DAMAGE as damage:
            if isinstance(damage, OSError) and damage.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskFull(f"No room for the unpacked files after {self._total_bytes} bytes.") from damage
            raise BrokenArchive(str(damage) or type(damage).__name__, hint=_PACK_AGAIN) from damage
        return Extraction(self._files, self._total_bytes, self._skipped)

    def _count_entry(self) -> None:
        self._entries += 1
        if self._entries > self._limits.maximum_entries:
            raise ArchiveTooLarge(f"More than {self._limits.maximum_entries} entries.", hint="Upload it in parts.")

    def _take(self, entry: _Entry) -> None:
        path = None if entry.why_not else safe_path(entry.name, self._limits.maximum_name_bytes)
        key = unicodedata.normalize("NFC", str(path)).casefold()
        if path is None:
            self._skip(entry.name, entry.why_not or "its name leads out of the folder")
        elif key in self._names:
            self._skip(entry.name, "another entry has the same name")
        else:
            self._names.add(key)
            self._write(entry, self._into / path)

    def _skip(self, name: str, why: str) -> None:
        self._skipped.append(Skipped(name.encode(errors="replace").decode()[:400], why))

    def _write(self, entry: _Entry, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            output = target.open("xb")
        except OSError as error:  # e.g. a file stands where this entry needs a folder
            self._skip(entry.name, error.strerror or "it cannot be written")
            return
        with output, entry.open() as source:
            while chunk := source.read(_CHUNK_BYTES):
                self._count_bytes(len(chunk))
                output.write(chunk)
        self._files += 1

    def _count_bytes(self, count: int) -> None:
        self._total_bytes += count
        limits = self._limits
        if self._total_bytes > limits.maximum_bytes:
            raise ArchiveTooLarge(f"More than {limits.maximum_bytes} bytes unpacked.", hint="Upload it in parts.")
        if self._total_bytes > max(limits.growth_free_bytes, limits.maximum_growth * self._packed_bytes):
            raise ArchiveTooLarge(
                f"It grows more than {limits.maximum_growth:g} times: {self._packed_bytes} bytes became "
                f"{self._total_bytes} and there is more.",
                hint="Pack it without compression if it really is that uniform.",
            )
        self._on_bytes(self._total_bytes)


def safe_path(name: str, maximum_bytes: int = 1024) -> PurePosixPath | None:
    """An entry's name as a path inside the folder, or None: absolute, climbing, drive, NUL, empty or overlong names."""
    encoded = name.encode("utf-8", "surrogateescape")
    if b"\0" in encoded or len(encoded) > maximum_bytes:
        return None
    text = encoded.decode("utf-8", "replace").replace("\\", "/")
    if text.startswith("/") or text[1:2] == ":":
        return None
    parts = [part for part in text.split("/") if part not in {"", "."}]
    too_long = any(len(part.encode()) > 255 for part in parts)
    return None if not parts or ".." in parts or too_long else PurePosixPath(*parts)


def _kind_of(stream: IO[bytes]) -> str:
    """zip, gzip, bzip2, xz or tar by the first bytes, not by the name; the stream stands at its start again.

    Raises NotAnArchive.
    """
    start = stream.read(512)
    stream.seek(0)
    if start[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "zip"
    kind = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)
    if kind is not None:
        return kind
    if start[257:262] == b"ustar":
        return "tar"
    raise NotAnArchive("The file begins neither like a zip nor like a tar.", hint="Send .zip, .tar or .tar.gz.")


_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "gzip": lambda stream: cast("IO[bytes]", GzipFile(fileobj=stream)),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def _entries(archive: Path) -> Iterator[_Entry]:
    """Every entry but folders, in the archive's order."""
    with archive.open("rb") as stream:
        kind = _kind_of(stream)
        if kind == "zip":
            yield from _zip_entries(stream)
        elif kind == "tar":
            yield from _tar_entries(stream)
        else:
            with _OPENERS[kind](stream) as plain:
                yield from _tar_entries(plain)


def _zip_entries(stream: IO[bytes]) -> Iterator[_Entry]:
    with zipfile.ZipFile(stream) as archive:
        _check_zip(archive)
        for info in archive.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            why_not = None if kind in {0, stat.S_IFREG} else "it is a link or a device"
            yield _Entry(_zip_name(info), why_not, partial(archive.open, info))


def _check_zip(archive: zipfile.ZipFile) -> None:
    """Refuse a zip of which any file cannot be read, before anything is unpacked."""
    for info in archive.infolist():
        if info.flag_bits & 0x1:
            raise EncryptedArchive(f"{info.filename!r} asks for a password.", hint="Pack it without a password.")
        if info.compress_type not in _READABLE_METHODS and not info.is_dir():
            method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
            raise UnsupportedCompression(
                f"{info.filename!r} is packed with {method}.",
                hint="Give the folder itself, or pack it with another program, as .zip with Deflate or as .tar.gz.",
            )


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Without the UTF-8 flag zipfile reads names as cp437, though most programs wrote UTF-8 all the same."""
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            return info.orig_filename.encode("cp437").decode("utf-8")
    return info.orig_filename


def _tar_entries(stream: Any) -> Iterator[_Entry]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isdir():
                    yield _Entry(member.name, _not_an_ordinary_file(member), _opener(archive, member))
    except tarfile.ReadError as error:
        if stream.tell() > tarfile.RECORDSIZE:
            raise  # it began like a tar: broken later
        raise NotAnArchive(f"What is compressed here is no tar: {error}", hint="Send .zip, .tar or .tar.gz.") from error


def _not_an_ordinary_file(member: tarfile.TarInfo) -> str | None:
    return None if member.isreg() and not member.issparse() else "it is a link, a device or a sparse file"


def _opener(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        stream = archive.extractfile(member)
        if stream is None:
            raise BrokenArchive(f"{member.name!r} holds no bytes to read.")
        return stream

    return open_member


def _answer(request: dict[str, Any], note: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], list[bytes]]:
    told = 0

    def on_bytes(total: int) -> None:
        nonlocal told
        if total - told >= 8 * _CHUNK_BYTES:
            told = total
            note({"bytes": total})

    unpacking = Unpacking(Path(request["archive"]), Path(request["into"]), ArchiveLimits(**request["limits"]), on_bytes)
    try:
        return asdict(unpacking.run()), []
    except MemoryError:
        return {"problem": "BrokenArchive", "detail": "Unpacking needs more memory than it may have.", "hint": ""}, []
    except Problem as problem:
        return {"problem": type(problem).__name__, "detail": problem.detail, "hint": problem.hint}, []


if __name__ == "__main__":
    serve(_answer)
