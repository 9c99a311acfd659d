"""What is not used is counted and named with what to do, and where nothing fits the report says what nearly does."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.reading import PairReaders, ReadingFailure, ReadingRequest, ReadPair
from segsmith_shared.problems import InvalidInput
from tests.fixtures.pair_folders import draw_folder, save, square_label

COCO = {"images": [{"id": 1}], "annotations": [{"segmentation": [[1, 2, 3]]}], "categories": []}
LABELME = {"version": "5.0", "shapes": [], "imagePath": "a.jpg"}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"


def check(root: Path) -> ImportReport:
    return check_folder(root, workers=1)


def touch(root: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.mark.parametrize(
    ("names", "content", "words"),
    [
        (
            ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"],
            b"x",
            "2 .nii.gz files are not read: volumes (export their slices",
        ),
        (["a.dcm"], b"x", "1 .dcm file is not read: DICOM files (export them as PNG)"),
        (["masks/a.npy", "masks/b.npy"], b"x", "masks: 2 .npy files are not read: arrays (save each array as a PNG)"),
        (["images.zip", "masks.zip"], b"PK", "2 .zip files are not read: archives (unpack them where they lie)"),
        (["masks/x.tar.gz"], b"x", "masks: 1 .tar.gz file is not read: archives"),
        (["a.heic", "b.HEIC"], b"x", "2 .heic files are not read: pictures of another format (convert them to PNG)"),
        (["ann/instances.json"], json.dumps(COCO).encode(), "1 .json file is not read: COCO annotations (draw the"),
        (
            ["images/IM0", "images/1.2.840.113619.5", "images/IM1"],
            bytes(128) + b"DICM",
            "images: 3 files without a telling ending are not read: DICOM files (export them as PNG)",
        ),
        (["x"], b"\x93NUMPY\1\0", "1 file without a telling ending is not read: arrays"),
        (["x.bin", "y"], bytes(344) + b"n+1\0", "2 files without a telling ending are not read: volumes"),
        (["a.json", "b.json"], json.dumps(LABELME).encode(), "2 .json files are not read: labelme annotations"),
    ],
)
def test_files_that_may_hold_labels_but_are_not_read_are_counted_with_what_to_do(
    tmp_path: Path, names: list[str], content: bytes, words: str
) -> None:
    touch(tmp_path, *names, content=content)
    report = " ".join(check(tmp_path).in_words().split())
    assert words in report
    draw_folder(tmp_path / "good", 1)
    assert words in " ".join(check(tmp_path).in_words().split())


def test_other_files_are_counted_by_their_endings_without_a_warning(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    touch(tmp_path, "a.txt", "b.TXT", "LICENSE", "boxes.json", content=b'{"cju0": {"bbox": []}}')
    report = check(tmp_path)
    assert not report.findings
    assert "Not used: 4 other files (2 .txt, 1 no ending, 1 .json)." in report.in_words()


@pytest.mark.parametrize("name", ["images/case-001.jpg", "masks/case-001.png"])
def test_a_git_lfs_pointer_is_named_with_the_command_that_fetches_it(tmp_path: Path, name: str) -> None:
    draw_folder(tmp_path, 2)
    touch(tmp_path, name, content=POINTER)
    report = check(tmp_path)
    assert report.accepted == 1
    [finding] = report.findings
    assert (finding.code, finding.file) == ("lfs-pointer", name)
    assert "git lfs pull" in finding.what_to_do


def test_gif_ppm_jfif_and_files_without_an_ending_are_read(tmp_path: Path) -> None:
    for index, (name, format_) in enumerate((("p0.gif", "GIF"), ("p1.ppm", "PPM"), ("p2.jfif", "JPEG"), ("p3", "PNG"))):
        image, label = draw_pair(0, index, 64)
        save(tmp_path / "images" / name, Image.fromarray(image), format=format_)
        save(tmp_path / "masks" / f"p{index}.gif", Image.fromarray(label), format="GIF")
    report = check(tmp_path)
    assert report.accepted == 4, report.in_words()


def test_a_gif_of_several_frames_is_refused(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    frames = [Image.fromarray(draw_pair(0, index, 64)[0]) for index in range(2)]
    save(tmp_path / "images" / "film.gif", frames[0], save_all=True, append_images=frames[1:])
    save(tmp_path / "masks" / "film.png", square_label())
    assert [finding.code for finding in check(tmp_path).findings] == ["too-many-frames"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: (path.unlink(), path.mkdir())])
def test_a_file_that_goes_while_it_is_read_is_one_failure_and_the_next_pair_is_read(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    draw_folder(tmp_path, 2)
    requests = [
        ReadingRequest(str(tmp_path / "images" / f"case-00{n}.jpg"), (str(tmp_path / "masks" / f"case-00{n}.png"),))
        for n in range(2)
    ]
    spoil(tmp_path / "images" / "case-000.jpg")
    with PairReaders(1) as readers:
        failed, read = readers.read(requests)
    assert isinstance(failed, ReadingFailure)
    assert (failed.part, failed.code) == ("image", "reader-failed")
    assert isinstance(read, ReadPair)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["images/p1.png", "images/p2.png", "masks/q7.png"],
            "nearly the layout 'image and label folders', with 2 images and 1 label, but no image goes by the name of "
            "a label: e.g. images/p1.png by 'p1', masks/q7.png by 'q7'",
        ),
        (
            ["a/images/x.png", "b/masks/x.png"],
            "e.g. a/images/x.png by 'a/x', b/masks/x.png by 'b/x'",
        ),
        (["a.jpg", "b.jpg"], "2 pictures, but no two files that belong together as image and label: all that could be"),
        (["masks/a.png"], "all that could be labels have no images, e.g. masks/a.png"),
        (
            ["imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png"],
            "3 pictures in the layout 'nnU-Net', but none that can be used",
        ),
        (["readme.txt"], "none of 1 file is a picture"),
        (["images/0", "masks/0.png"], "all that could be labels have no images"),
    ],
)
def test_where_nothing_fits_the_report_says_what_nearly_does(tmp_path: Path, names: list[str], words: str) -> None:
    touch(tmp_path, *names)
    report = check(tmp_path)
    assert report.accepted == 0
    [finding] = [finding for finding in report.findings if finding.code == "no-layout"]
    assert words in finding.what
    assert "images/" in finding.what_to_do


@pytest.mark.parametrize("names", [["{}_mask1", "{}_mask2"], ["{}", "{}_mask_1"], ["{}/1", "{}/2"]])
def test_labels_that_are_united_are_said_once_with_an_example(tmp_path: Path, names: list[str]) -> None:
    cases = draw_folder(tmp_path, 4)
    for case in cases[:3]:
        label = (tmp_path / "masks" / f"{case}.png").read_bytes()
        (tmp_path / "masks" / f"{case}.png").unlink()
        touch(tmp_path / "masks", *(f"{name.format(case)}.png" for name in names), content=label)
    if "/" in names[0]:
        (tmp_path / "images" / f"{cases[3]}.jpg").unlink()
        (tmp_path / "masks" / f"{cases[3]}.png").unlink()
    report = check(tmp_path)
    [finding] = [finding for finding in report.findings if finding.code == "labels-united"]
    assert finding.severity == "note"
    assert f"3 pairs of {report.accepted} with several label files, which are united: e.g. case-000" in finding.what
    assert all(f"masks/{name.format('case-000')}.png" in finding.what for name in names)


@pytest.mark.parametrize("one", ["masks/{}", "masks_{}", "{}/masks"])
def test_two_folders_of_labels_are_said_to_be_two_and_one_to_be_chosen(tmp_path: Path, one: str) -> None:
    folders = [one.format(side) for side in ("left", "right")]
    touch(tmp_path, *(f"{folder}/a{n}.png" for folder in ("images", *folders) for n in range(3)))
    [finding] = [finding for finding in check(tmp_path).findings if finding.code == "no-layout"]
    assert f"2 folders hold labels of these images, {' and '.join(folders)}" in finding.what_to_do
    assert "X_mask_1" in finding.what_to_do


@pytest.mark.parametrize(
    ("name", "options"),
    [("classes.json", {}), ("ids.txt", {}), ("meta.csv", {"group_column": "meta.csv:patient"})],
)
def test_a_list_that_git_lfs_did_not_fetch_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    draw_folder(tmp_path, 1)
    touch(tmp_path, name, content=POINTER)
    try:
        report = check_folder(tmp_path, CheckOptions.model_validate(options), workers=1)
        said = " ".join(f"{finding.what} {finding.what_to_do}" for finding in report.findings)
    except InvalidInput as problem:
        said = f"{problem.detail} {problem.hint}"
    assert f"{name} is a Git LFS pointer" in said
    assert "git lfs pull" in said.lower()


def test_archives_inside_an_upload_are_named_too(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("images/b.png", b"x")
    [finding] = check_folder(tmp_path, workers=1, follow_links=False).findings
    assert (finding.code, finding.severity) == ("not-read", "warning")
