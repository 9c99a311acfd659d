"""Files that contradict each other are refused together, and values without loss are never taken for noise."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.label_sets import HEIGHT_PX, WIDTH_PX, drawn_image, grey, lesion, read_set, save_set, with_rim
from tests.fixtures.pair_folders import save

COUNT = 4
BLOCK = (slice(30, 46), slice(44, 62))  # none of the first three lesions lies there
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def with_value(index: int, value: int, of_lesion: int = 255) -> np.ndarray:
    """A lesion and a block of a further value."""
    label = lesion(index).astype(np.uint8) * np.uint8(of_lesion)
    label[BLOCK] = value
    return label


def with_border(index: int, value: int) -> np.ndarray:
    label = lesion(index).astype(np.uint8) * np.uint8(255)
    label[-3:] = value
    return label


def coloured(index: int, of_lesion: tuple[int, int, int], of_block: tuple[int, int, int] = BLACK) -> Image.Image:
    label = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    label[lesion(index)] = of_lesion
    label[BLOCK] = of_block
    return Image.fromarray(label)


def set_of(*labels: np.ndarray | Image.Image) -> dict[str, Image.Image]:
    return {f"p{i}": each if isinstance(each, Image.Image) else grey(each) for i, each in enumerate(labels)}


def refusal(root: Path, labels: dict[str, Image.Image]) -> str:
    """The advice by which the whole set is refused."""
    save_set(root, labels)
    report, _ = read_set(root)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert (report.accepted, len(errors)) == (0, len(labels))
    assert {finding.code for finding in errors} <= {"several-values", "several-colours"}
    return errors[0].what_to_do


def test_value_one_beside_255_is_no_lesion_where_other_files_mark_lesions_by_255(tmp_path: Path) -> None:
    """As an almost black border, or as a ring of 255 around a core of 1."""
    border = set_of(*(with_border(i, 1) if i < 2 else lesion(i) * np.uint8(255) for i in range(6)))
    assert "--foreground 1 (or 255)" in refusal(tmp_path / "border", border)
    _, found = read_set(tmp_path / "border", foreground="255")
    assert all(np.array_equal(found[f"p{i}"], lesion(i)) for i in range(6))
    _, found = read_set(tmp_path / "border", foreground="1")
    assert not found["p5"].any()
    ring = [np.where(with_rim(lesion(i)), 255, lesion(i)) if i < 3 else lesion(i) * 255 for i in range(6)]
    assert "where 255 is unknown: --classes lesion=1,ignore=255" in refusal(tmp_path / "ring", set_of(*ring))


def test_255_that_marks_more_than_value_one_is_not_taken_for_unknown(tmp_path: Path) -> None:
    labels = [np.where(with_rim(lesion(i), 8), 255, lesion(i)) for i in range(COUNT)]
    assert "--classes class1=1,class2=255" in refusal(tmp_path, set_of(*labels))


def test_one_border_of_ones_in_a_large_set_costs_that_pair_alone(tmp_path: Path) -> None:
    save_set(tmp_path, set_of(*(with_border(i, 1) if i == 3 else lesion(i) * np.uint8(255) for i in range(10))))
    report, found = read_set(tmp_path)
    assert [finding.file for finding in report.findings if finding.severity == "error"] == ["masks/p3.png"]
    assert all(np.array_equal(label, lesion(int(name[1:]))) for name, label in found.items())


@pytest.mark.parametrize("values", [(1, 2), (128, 255), (150, 255), (20, 30), (254, 255), (1000, 2000)])
def test_values_that_exclude_each_other_over_the_files_are_classes(tmp_path: Path, values: tuple[int, int]) -> None:
    labels = [lesion(i).astype(np.uint16) * values[i % 4 == 0] for i in range(8)]
    assert f"--classes class1={values[0]},class2={values[1]};" in refusal(tmp_path, set_of(*labels))
    _, found = read_set(tmp_path, foreground=str(values[0]))
    assert np.array_equal(found["p0"], lesion(0) * (values[0] == values[True]))
    _, found = read_set(tmp_path, labels="instances")
    assert all(np.array_equal(found[f"p{i}"], lesion(i)) for i in range(8))


def test_colours_that_exclude_each_other_over_the_files_are_classes(tmp_path: Path) -> None:
    labels = [coloured(i, GREEN if i % 5 == 0 else RED) for i in range(10)]
    assert "--classes 'class1=#00ff00,class2=#ff0000'" in refusal(tmp_path, set_of(*labels))


def test_values_that_exclude_each_other_stay_classes_where_255_is_unknown(tmp_path: Path) -> None:
    labels = [lesion(i) * np.uint8(1 + i % 2) for i in range(8)]
    labels[0][-2:] = 255
    assert "--classes class1=1,class2=2;" in refusal(tmp_path, set_of(*labels))


@pytest.mark.parametrize("value", [10, 20, 40, 230, 250])
def test_an_even_area_near_black_or_white_is_a_class_in_a_file_without_loss(tmp_path: Path, value: int) -> None:
    labels = [with_value(i, value) if i < 3 else lesion(i) * np.uint8(255) for i in range(6)]
    save_set(tmp_path, set_of(*labels))
    report, _ = read_set(tmp_path)
    advice = next(finding.what_to_do for finding in report.findings if finding.severity == "error")
    assert f"--classes class1={value},class2=255;" in advice or value == 10
    assert not {"masks/p0.png", "masks/p1.png"} - {f.file for f in report.findings if f.severity == "error"}
    _, found = read_set(tmp_path, foreground="255")
    assert all(np.array_equal(found[f"p{i}"], lesion(i)) for i in range(6))


def test_a_class_beside_a_lesion_with_soft_edges_is_no_edge(tmp_path: Path) -> None:
    soft = Image.fromarray(lesion(0) * np.uint8(255)).resize((4 * WIDTH_PX, 4 * HEIGHT_PX), Image.Resampling.BICUBIC)
    label = np.asarray(soft).copy()
    label[150:180, 200:240] = 230
    save(tmp_path / "images" / "p0.png", Image.fromarray(drawn_image(0)).resize(soft.size))
    save(tmp_path / "masks" / "p0.png", Image.fromarray(label))
    report, _ = read_set(tmp_path)
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert "230 (" in error.what
    assert "--labels binary" in error.what_to_do


def test_thin_lines_of_a_value_of_their_own_are_a_class_and_soft_edges_are_not(tmp_path: Path) -> None:
    def with_lines(index: int) -> np.ndarray:
        label = lesion(index) * np.uint8(255)
        label[40:42], label[:, 60:62] = 128, 100
        return label

    assert "class1=100,class2=128,class3=255" in refusal(tmp_path / "lines", set_of(*map(with_lines, range(COUNT))))
    half = [grey(lesion(i) * 255).resize((32, 24), Image.Resampling.BOX) for i in range(COUNT)]
    save_set(tmp_path / "soft", {f"p{i}": each for i, each in enumerate(half)})
    for i in range(COUNT):
        save(tmp_path / "soft" / "images" / f"p{i}.png", Image.fromarray(drawn_image(i)).resize((32, 24)))
    report, found = read_set(tmp_path / "soft")
    assert report.accepted == COUNT
    assert all(np.array_equal(found[f"p{i}"], np.asarray(half[i]) >= 128) for i in range(COUNT))


@pytest.mark.parametrize("other", [(235, 20, 20), (0, 0, 36), (254, 0, 0)])
def test_colours_near_each_other_or_near_black_are_kept_apart_without_loss(
    tmp_path: Path, other: tuple[int, int, int]
) -> None:
    code = "#{:02x}{:02x}{:02x}".format(*other)
    advice = refusal(tmp_path, set_of(*(coloured(i, RED, other) for i in range(3))))
    assert f"--classes 'class1={code},class2=#ff0000'" in advice
    _, found = read_set(tmp_path, foreground="#ff0000")
    assert all(np.array_equal(found[f"p{i}"], lesion(i)) for i in range(3))
    _, found = read_set(tmp_path, labels="instances")
    assert all(np.array_equal(found[f"p{i}"], with_value(i, 1, 1)) for i in range(3))


def test_almost_white_on_white_is_two_values_and_not_all_lesion(tmp_path: Path) -> None:
    labels = [255 - lesion(i).astype(np.uint8) for i in range(COUNT)]
    assert "--classes class1=254,background=255" in refusal(tmp_path, set_of(*labels))
    _, found = read_set(tmp_path, foreground="254")
    assert all(np.array_equal(found[f"p{i}"], lesion(i)) for i in range(COUNT))


def test_almost_black_borders_of_few_files_are_read_as_background_with_a_note(tmp_path: Path) -> None:
    save_set(tmp_path, set_of(*(with_border(i, 11) if i == 2 else lesion(i) * np.uint8(255) for i in range(8))))
    report, found = read_set(tmp_path)
    (note,) = report.findings
    assert (note.severity, note.file) == ("note", "masks/p2.png")
    assert f"almost black read as background: 11 ({3 * WIDTH_PX} px)" in note.what
    assert np.array_equal(found["p2"], lesion(2))


def test_a_jpeg_of_three_values_is_refused_with_values_that_its_areas_have(tmp_path: Path) -> None:
    large = {}
    for i in range(COUNT):
        values = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
        values[8:40, 8:28], values[8:40, 36:56] = 128, 255
        large[f"p{i}"] = grey(values)
    save_set(tmp_path, large, "jpg")
    report, _ = read_set(tmp_path)
    advice = next(finding.what_to_do for finding in report.findings if finding.severity == "error")
    assert "--foreground 128 (or 255)" in advice
    assert "--classes" not in advice  # a JPEG has values that no list of classes can name
    for value in (128, 255):
        _, found = read_set(tmp_path, foreground=str(value))
        assert (found["p0"] != (np.asarray(large["p0"]) == value)).mean() < 0.05
