"""Whatever lies in a folder is read or named: links, circles, what may not be read, pictures without an ending."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segsmith_shared.pairs.checking import check_folder
from segsmith_shared.pairs.formats import find_files, found
from tests.fixtures.pair_folders import draw_folder

LIST = "import sys; from pathlib import Path; from segsmith_shared.pairs.formats import find_files\n" + (
    "for finding in find_files(Path(sys.argv[1])).findings: print(finding.file, finding.what, sep='|')"
)


def paths(root: Path) -> list[str]:
    return [str(file.path) for file in find_files(root).files]


def codes(root: Path, *, follow_links: bool = True) -> dict[str, str]:
    return {finding.file: finding.code for finding in find_files(root, follow_links=follow_links).findings}


def test_links_to_folders_elsewhere_are_followed_and_said(tmp_path: Path) -> None:
    draw_folder(tmp_path / "store", 2)
    (tmp_path / "in").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "in" / name).symlink_to(Path("..") / "store" / name)
    report = check_folder(tmp_path / "in", workers=1)
    assert report.accepted == 2
    assert {finding.file: finding.code for finding in report.findings} == {
        "images": "linked-folder",
        "masks": "linked-folder",
    }


def test_links_in_files_from_elsewhere_are_not_followed_but_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "images").symlink_to(tmp_path)
    assert codes(tmp_path / "in", follow_links=False) == {"a.png": "link", "images": "link"}
    assert not find_files(tmp_path / "in", follow_links=False).files


@pytest.mark.parametrize("target", [".", "..", "../..", "images", "/"])
def test_a_link_that_leads_back_is_followed_once_at_most(tmp_path: Path, target: str) -> None:
    root = tmp_path / "in"
    (root / "images").mkdir(parents=True)
    (root / "images" / "a.png").touch()
    (root / "images" / "loop").symlink_to(target)
    expected = {"images/loop": "dangling-link" if target == "images" else "circular-link"}
    assert codes(root) == expected
    assert paths(root) == ["images/a.png"]


def test_two_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "to").symlink_to(tmp_path / other)
        (tmp_path / one / f"{one}.png").touch()
    assert paths(tmp_path) == ["a/a.png", "a/to/b.png", "b/b.png", "b/to/a.png"]
    assert sorted(codes(tmp_path).values()).count("circular-link") == 2


def test_links_that_multiply_are_followed_to_a_limit_which_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "MOST_LINKED_FOLDERS", 50)
    for level in range(12):  # each level links twice to the next: 4,096 ways to the last
        (tmp_path / f"{level}").mkdir()
        for name in ("x", "y"):
            (tmp_path / f"{level}" / name).symlink_to(tmp_path / f"{level + 1}")
    (tmp_path / "12").mkdir()
    found_codes = list(codes(tmp_path).values())
    assert found_codes.count("too-many-links") == 1
    assert found_codes.count("linked-folder") == 50


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "images").symlink_to(tmp_path / "not-mounted")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert codes(tmp_path) == dict.fromkeys(("a.png", "images", "self"), "dangling-link")


def test_what_may_not_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    (tmp_path / "more").mkdir()
    (tmp_path / "closed.png").touch()
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if unprivileged and shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and setpriv, which could take that right away, is not there")
    for name in ("more", "closed.png"):
        (tmp_path / name).chmod(0)
    try:
        listed = subprocess.run(
            [*unprivileged, sys.executable, "-c", LIST, tmp_path], capture_output=True, text=True, check=False
        )
    finally:
        (tmp_path / "more").chmod(0o700)
    assert listed.stdout.splitlines() == [
        "closed.png|cannot be read: Permission denied",
        "more|cannot be read: Permission denied",
    ], listed.stderr


@pytest.mark.parametrize(
    ("name", "content", "stem"),
    [
        ("p3", b"\x89PNG\r\n\x1a\n...", "p3"),
        ("IMG.0001", b"\xff\xd8\xff\xe0", "IMG.0001"),
        ("scan", b"RIFF\x10\0\0\0WEBPVP8 ", "scan"),
        ("old", b"BM\x36\0\0\0\0\0\0\0", "old"),
        ("a.jfif", b"", "a"),
        ("a.PPM", b"", "a"),
        ("a.gif", b"", "a"),
    ],
)
def test_a_picture_is_one_also_without_a_telling_ending(tmp_path: Path, name: str, content: bytes, stem: str) -> None:
    (tmp_path / name).write_bytes(content)
    [file] = find_files(tmp_path).files
    assert file.is_picture
    assert file.stem == stem


@pytest.mark.parametrize("name", ["README", "BMI.dat", "a.png.txt", "notes", "volume.nii.gz"])
def test_other_files_are_no_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"BM is how this text begins, which is no picture")
    [file] = find_files(tmp_path).files
    assert not file.is_picture


def test_folders_deeper_than_pythons_stack_are_read(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(sys.getrecursionlimit() + 100):
        deep /= "d"
        deep.mkdir()
    (deep / "a.png").touch()
    try:
        assert len(find_files(tmp_path).files) == 1
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # Python's own removal goes as deep as its stack
