"""A packed folder is the tar that tar itself would read, whatever ranges of it are asked for."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segsmith.packing import ArchiveFile, PackedFolder, archive_of, sha256_of
from segsmith.problems import FolderNotFound, TransferBroken
from segsmith_shared.pairs.archives import BrokenArchive, NotAnArchive, UnsupportedCompression, extract_archive

LONG_NAME = "centre-" + "x" * 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    for name, content in {
        "images/a.png": b"a" * 700,
        "images/polyp ä.png": b"",
        f"images/{LONG_NAME}/b.png": b"b" * 512,
        "masks/a.png": b"m" * 5000,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_tar_reads_what_was_packed(folder: Path) -> None:
    packed = PackedFolder(folder)
    with tarfile.open(fileobj=io.BytesIO(packed.read(0, packed.size_bytes))) as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert contents == {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@given(offset=st.integers(0, 12_000), length=st.integers(0, 9000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_range_is_the_same_range_of_the_whole(folder: Path, offset: int, length: int) -> None:
    packed = PackedFolder(folder)
    whole = packed.read(0, packed.size_bytes)
    assert len(whole) == packed.size_bytes
    assert packed.read(offset, length) == whole[offset : offset + length]


def test_packing_twice_gives_the_same_bytes(folder: Path) -> None:
    before = sha256_of(PackedFolder(folder))
    (folder / "images/a.png").touch()
    assert sha256_of(PackedFolder(folder)) == before


def test_hidden_files_stay_at_home(folder: Path, tmp_path: Path) -> None:
    for name in (".DS_Store", "__MACOSX/a.png", "images/.hidden/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FolderNotFound):
        PackedFolder(tmp_path)


def test_a_file_that_shrinks_while_it_is_sent_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x" * 2000)
    packed = PackedFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x" * 10)
    with pytest.raises(TransferBroken, match=r"a\.png"):
        packed.read(0, packed.size_bytes)


def test_an_archive_that_is_there_already_is_sent_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "pairs.zip"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("images/a.png", bytes(range(256)) * 40)
    archive = archive_of(file)
    assert isinstance(archive, ArchiveFile)
    assert archive.read(10_000, 1000) == file.read_bytes()[10_000:]
    assert sha256_of(archive) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_a_check_would_report_of_the_folder_is_known_before_it_is_sent(tmp_path: Path) -> None:
    root, store = tmp_path / "in", tmp_path / "store"
    for folder in (root, store / "images"):
        folder.mkdir(parents=True)
    (store / "images" / "a.png").write_bytes(b"a")
    (root / "images").symlink_to(store / "images")
    (root / "masks").symlink_to(tmp_path / "not-mounted")
    (root / "circle").symlink_to(root)
    packed = PackedFolder(root)
    with tarfile.open(fileobj=io.BytesIO(packed.read(0, packed.size_bytes))) as archive:
        assert archive.getnames() == ["images/a.png"]
    assert {finding.file: finding.code for finding in packed.findings} == {
        "circle": "circular-link",
        "images": "linked-folder",
        "masks": "dangling-link",
    }


def test_a_folder_of_links_that_lead_nowhere_says_so(tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(tmp_path / "not-mounted")
    with pytest.raises(FolderNotFound, match="images: a link that leads nowhere"):
        PackedFolder(tmp_path)


@pytest.mark.parametrize(
    ("method", "words"), [(9, "Deflate64, as Windows Explorer writes it"), (93, "Zstandard"), (77, "method 77")]
)
def test_a_zip_that_the_server_could_not_unpack_is_refused_before_it_is_sent(
    tmp_path: Path, method: int, words: str
) -> None:
    file = tmp_path / "pairs.zip"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("images/a.png", b"x" * 100)
    raw = bytearray(file.read_bytes())
    directory = raw.rindex(b"PK\x01\x02")
    raw[8:10] = raw[directory + 10 : directory + 12] = method.to_bytes(2, "little")
    file.write_bytes(raw)
    with pytest.raises(UnsupportedCompression, match=words) as refused:
        archive_of(file)
    assert "Give the folder itself" in refused.value.hint
    with pytest.raises(UnsupportedCompression, match=words):  # the server's answer, where another client sent it
        extract_archive(file, tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"Rar!\x1a\x07\x00" + bytes(600), b"7z\xbc\xaf\x27\x1c" + bytes(600), b"", b"PK\x03\x04" + bytes(50)]
)
def test_what_is_no_archive_is_refused_before_it_is_sent(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pairs.zip"
    file.write_bytes(content)
    with pytest.raises((NotAnArchive, BrokenArchive)):
        archive_of(file)
