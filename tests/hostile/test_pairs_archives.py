"""Archives made to do harm unpack to nothing but ordinary files inside the folder, or not at all."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segsmith_shared.pairs.archives import (
    ArchiveLimits,
    ArchiveTooLarge,
    BrokenArchive,
    EncryptedArchive,
    Extraction,
    NotAnArchive,
    extract_archive,
    safe_path,
)

Build = Callable[[Path], Path]


def tar_of(
    path: Path, members: dict[str, bytes], mode: str = "w", edit: Callable[[tarfile.TarInfo], None] | None = None
) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if edit:
                edit(info)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def unpacked(archive: Path, limits: ArchiveLimits | None = None) -> tuple[Extraction, dict[str, bytes]]:
    into = archive.parent / "out"
    extraction = extract_archive(archive, into, limits)
    return extraction, {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}


GOOD = {"images/a.png": b"1" * 3000, "masks/a.png": b"2", "deep/er/b.txt": b""}


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_accepted_kind_is_unpacked_whole_whatever_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "upload.bin"
    archive = zip_of(path, GOOD) if kind == "zip" else tar_of(path, GOOD, kind)
    extraction, files = unpacked(archive)
    assert files == GOOD
    assert (extraction.files, extraction.total_bytes, extraction.skipped) == (3, 3001, [])


BAD_NAMES = ["../out.txt", "/etc/x", "a/../../x", "C:\\x.txt", "..\\x", "", "a/" + 300 * "n", "nul\0byte"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_has_no_path(name: str) -> None:
    assert safe_path(name) is None


@pytest.mark.parametrize(("name", "path"), [("./a/b.png", "a/b.png"), ("a\\b.png", "a/b.png"), ("a//b", "a/b")])
def test_harmless_spellings_of_a_path_are_understood(name: str, path: str) -> None:
    assert str(safe_path(name)) == path


@pytest.mark.parametrize("build", [zip_of, tar_of])
def test_entries_that_climb_out_are_named_and_the_rest_is_kept(tmp_path: Path, build: Callable[..., Path]) -> None:
    archive = build(tmp_path / "a", {"../evil": b"x", "/evil2": b"x", **GOOD})
    extraction, files = unpacked(archive)
    assert files == GOOD
    assert [skipped.name for skipped in extraction.skipped] == ["../evil", "/evil2"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_never_made(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("images")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
        inside = tarfile.TarInfo("images/passwd")
        inside.size = 1
        archive.addfile(inside, io.BytesIO(b"x"))
    extraction, files = unpacked(path)
    assert files == {"images/passwd": b"x"}
    assert extraction.skipped[0].name == "images"
    assert not (tmp_path / "out" / "images").is_symlink()


def test_a_link_in_a_zip_is_never_made(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("images")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    extraction, files = unpacked(path)
    assert files == {}
    assert "link" in extraction.skipped[0].why


def test_a_bomb_is_defused_before_it_fills_the_disk(tmp_path: Path) -> None:
    limits = ArchiveLimits(growth_free_bytes=2**20)
    archive = zip_of(tmp_path / "a.zip", {"a.png": bytes(2**28)})
    with pytest.raises(ArchiveTooLarge, match="100 times"):
        extract_archive(archive, tmp_path / "out", limits)
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) < 2**27


def test_honest_pictures_that_shrink_a_thousandfold_are_no_bomb(tmp_path: Path) -> None:
    extraction, _ = unpacked(zip_of(tmp_path / "a.zip", {"blank.bmp": bytes(2**24)}))
    assert extraction.total_bytes == 2**24


def test_limits_on_bytes_and_entries_hold(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {f"{n}.png": bytes(100) for n in range(20)}, zipfile.ZIP_STORED)
    with pytest.raises(ArchiveTooLarge, match="10 entries"):
        extract_archive(archive, tmp_path / "x", ArchiveLimits(maximum_entries=10))
    with pytest.raises(ArchiveTooLarge, match="1000 bytes"):
        extract_archive(archive, tmp_path / "y", ArchiveLimits(maximum_bytes=1000))


def test_a_header_that_asks_for_gigabytes_ends_the_child_and_not_us(tmp_path: Path) -> None:
    """A tar's extended header is read into memory whole: here 4 GiB of zeros, packed into 2 MB."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 4 * 2**30
    zeros = gzip.compress(bytes(2**24))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + zeros * 120)
    with pytest.raises(BrokenArchive, match="memory"):
        extract_archive(path, tmp_path / "out")


def test_names_that_differ_only_in_case_do_not_overwrite_each_other(tmp_path: Path) -> None:
    extraction, files = unpacked(zip_of(tmp_path / "a.zip", {"A.png": b"1", "a.PNG": b"2", "a.png/b": b"3"}))
    assert files == {"A.png": b"1", "a.png/b": b"3"}
    assert [skipped.name for skipped in extraction.skipped] == ["a.PNG"]


def test_a_file_in_the_place_of_a_folder_costs_only_itself(tmp_path: Path) -> None:
    extraction, files = unpacked(tar_of(tmp_path / "a.tar", {"a": b"1", "a/b": b"2", "c": b"3"}))
    assert files == {"a": b"1", "c": b"3"}
    assert extraction.skipped[0].name == "a/b"


def test_a_name_in_utf8_without_its_flag_is_read_as_meant(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"M__ller.png": b"1"})
    path.write_bytes(path.read_bytes().replace(b"M__ller", "Müller".encode()))
    assert list(unpacked(path)[1]) == ["Müller.png"]


def test_a_name_in_no_known_encoding_still_unpacks(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {"Mxller.png": b"1"}, edit=None)
    raw = bytearray(path.read_bytes())
    raw[1] = 0xFC
    checksum = sum(raw[:148]) + 8 * 32 + sum(raw[156:512])
    raw[148:156] = f"{checksum:06o}\0 ".encode()
    path.write_bytes(raw)
    assert list(unpacked(path)[1]) == ["M\ufffdller.png"]


@pytest.mark.parametrize("content", [b"", b"just text, no archive", bytes(4096), b"\x1f\x8b\x08\x00" + bytes(20)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises((NotAnArchive, BrokenArchive)):
        extract_archive(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:xz"])
def test_half_an_archive_is_refused(tmp_path: Path, kind: str) -> None:
    members = {f"{n}.png": os.urandom(40_000) for n in range(5)}
    path = tmp_path / "a"
    archive = zip_of(path, members) if kind == "zip" else tar_of(path, members, kind)
    archive.write_bytes(archive.read_bytes()[:100_000])
    with pytest.raises(BrokenArchive):
        extract_archive(archive, tmp_path / "out")


def test_a_damaged_entry_is_noticed_by_its_checksum(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"a.png": b"0123456789" * 100}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(BrokenArchive, match="CRC"):
        extract_archive(archive, tmp_path / "out")


def test_a_password_is_said_to_be_the_reason(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"a.png": b"x"})
    raw = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.index(signature) + offset
        raw[at : at + 2] = struct.pack("<H", struct.unpack("<H", raw[at : at + 2])[0] | 1)
    archive.write_bytes(raw)
    with pytest.raises(EncryptedArchive, match="password"):
        extract_archive(archive, tmp_path / "out")


def test_whoever_listens_can_stop_the_unpacking(tmp_path: Path) -> None:
    class StopAsked(Exception):
        pass

    def stop(_: int) -> None:
        raise StopAsked

    archive = zip_of(tmp_path / "a.zip", {"a.png": os.urandom(2**25)}, zipfile.ZIP_STORED)
    with pytest.raises(StopAsked):
        extract_archive(archive, tmp_path / "out", on_bytes=stop)
