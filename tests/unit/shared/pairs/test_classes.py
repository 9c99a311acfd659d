"""Labels of several classes are read by the values or colours that were named, and by nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from segsmith_shared.pairs import bad_pictures
from segsmith_shared.pairs.bad_pictures import UnknownClass
from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.classes import (
    WrongClasses,
    checked_classes,
    class_list,
    classes_of,
    marks_of,
    names_of,
    read_class_list,
)
from segsmith_shared.pairs.intake import DecodedImage
from segsmith_shared.pairs.label_files import DecodedLabel, decode_label
from segsmith_shared.pairs.png_files import stored_label_bytes
from segsmith_shared.storage.pair_arrays import read_label
from tests.fixtures.pair_folders import draw_class_folder, draw_folder, save

SIDE_PX = 48
BY_VALUE = [{"name": "polyp", "value": 1}, {"name": "instrument", "value": 7}]
BY_COLOUR = [{"name": "polyp", "colour": "#ff0000"}, {"name": "instrument", "colour": "#00FF00"}]


def class_map() -> np.ndarray:
    """A block of each class, (H, W) of 0, 1 and 2."""
    label = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    label[8:20, 8:20], label[24:44, 20:40] = 1, 2
    return label


def coloured() -> Image.Image:
    return Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[class_map()])


def read(path: Path, classes: list[dict[str, Any]], orientation: int = 1) -> DecodedLabel:
    image = DecodedImage(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), orientation)
    return decode_label(path, 10**7, "corrected", image, marks_of(checked_classes(classes)))


def check(root: Path, **options: object) -> ImportReport:
    return check_folder(root, CheckOptions.model_validate(options), workers=1)


def test_values_are_read_from_every_way_of_saving_them(tmp_path: Path) -> None:
    values = np.array([0, 1, 7], np.uint8)[class_map()]
    palette = Image.fromarray(values).convert("P")
    palette.putpalette([0, 0, 0, 9, 9, 9] + [255, 0, 0] * 6)
    with_alpha = Image.merge("LA", (Image.fromarray(values), Image.new("L", (SIDE_PX, SIDE_PX), 128)))
    ways = {
        "grey.png": Image.fromarray(values),
        "grey.tif": Image.fromarray(values),
        "rgb.png": Image.fromarray(values).convert("RGB"),
        "palette.png": palette,
        "deep.png": Image.fromarray(values.astype(np.uint16)),
        "alpha.png": with_alpha,
    }
    for name, picture in ways.items():
        assert np.array_equal(read(save(tmp_path / name, picture), BY_VALUE).label, class_map()), name


def test_values_beyond_a_byte_are_read_as_they_are(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", Image.fromarray(np.array([0, 1000, 65535], np.uint16)[class_map()]))
    classes = [{"name": "a", "value": 1000}, {"name": "b", "value": 65535}]
    assert np.array_equal(read(path, classes).label, class_map())


def test_colours_are_read_from_files_that_keep_them_and_from_those_that_soften_edges(tmp_path: Path) -> None:
    exact = read(save(tmp_path / "m.png", coloured()), BY_COLOUR)
    assert np.array_equal(exact.label, class_map())
    assert not exact.notes
    palette = read(save(tmp_path / "p.png", coloured().quantize(4)), BY_COLOUR)
    assert np.array_equal(palette.label, class_map())
    transparent = coloured().convert("RGBA")
    transparent.putalpha(Image.fromarray((class_map() > 0) * np.uint8(255)))
    assert np.array_equal(read(save(tmp_path / "t.png", transparent), BY_COLOUR).label, class_map())
    for quality in (75, 95):
        jpeg = read(save(tmp_path / f"m{quality}.jpg", coloured(), quality=quality), BY_COLOUR)
        assert (jpeg.label != class_map()).mean() < 0.02
        assert "soft edges" in jpeg.notes[0]


def test_a_small_area_of_a_colour_that_is_no_class_is_named_and_refused(tmp_path: Path) -> None:
    pixels = np.array(coloured())
    pixels[0:5, 0:5] = (0, 0, 255)
    with pytest.raises(UnknownClass, match=r"colours #0000ff \(25 px\) are neither background nor any of polyp=#ff"):
        read(save(tmp_path / "m.png", Image.fromarray(pixels)), BY_COLOUR)


def test_a_single_pixel_of_a_value_that_is_no_class_is_named_and_refused(tmp_path: Path) -> None:
    values = np.array([0, 1, 7], np.uint8)[class_map()]
    values[0, 0] = 200
    with pytest.raises(UnknownClass, match=r"values 200 \(1 px\) are neither background nor any of polyp=1, instr"):
        read(save(tmp_path / "m.png", Image.fromarray(values)), BY_VALUE)
    many = np.arange(SIDE_PX**2, dtype=np.uint16).reshape(SIDE_PX, SIDE_PX)
    with pytest.raises(UnknownClass, match=r"values 2, 3, 4, 5, 6, 8, 9, 10 … "):
        read(save(tmp_path / "n.png", Image.fromarray(many)), BY_VALUE)


def test_zeros_and_ones_are_not_guessed_to_be_lesions_where_classes_are_named(tmp_path: Path) -> None:
    ones = save(tmp_path / "m.png", Image.fromarray((class_map() > 0).astype(np.uint8)))
    with pytest.raises(UnknownClass, match="values 1 "):
        read(ones, [{"name": "polyp", "value": 255}])
    assert not read(ones, [{"name": "polyp", "value": 1}]).notes


@pytest.mark.parametrize(
    ("picture", "problem", "words"),
    [
        (coloured(), UnknownClass, "coloured"),
        (Image.fromarray(np.zeros((SIDE_PX, SIDE_PX), np.float32)), bad_pictures.UnsupportedPixels, "mode F"),
        (Image.new("LAB", (SIDE_PX, SIDE_PX)), bad_pictures.UnsupportedPixels, "mode LAB"),
        (Image.new("L", (SIDE_PX, 5)), bad_pictures.LabelOfAnotherSize, "48×5"),
    ],
)
def test_a_label_without_values_is_refused_by_name(
    tmp_path: Path, picture: Image.Image, problem: type[bad_pictures.BadPicture], words: str
) -> None:
    with pytest.raises(problem, match=words):
        read(save(tmp_path / "m.tif", picture), BY_VALUE)


def test_a_class_map_drawn_on_the_unturned_picture_is_turned_with_it(tmp_path: Path) -> None:
    values = np.array([0, 1, 7], np.uint8)[class_map()]
    path = save(tmp_path / "m.jpg", Image.fromarray(values), quality=100, exif=_turned_exif())
    with pytest.raises(UnknownClass):
        read(path, BY_VALUE)  # a JPEG keeps no values, and says so
    path = save(tmp_path / "m.png", Image.fromarray(values), exif=_turned_exif())
    assert np.array_equal(read(path, BY_VALUE).label, np.rot90(class_map(), -1))


def _turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_background_may_have_a_value_of_its_own_and_zero_may_be_a_class(tmp_path: Path) -> None:
    inverted = save(tmp_path / "m.png", Image.fromarray(np.array([255, 0, 3], np.uint8)[class_map()]))
    classes = [{"name": "polyp", "value": 0}, {"name": "background", "value": 255}, {"name": "scar", "value": 3}]
    assert np.array_equal(read(inverted, classes).label, class_map())
    assert names_of(checked_classes(classes)) == ["polyp", "scar"]
    white = save(tmp_path / "w.png", Image.fromarray(np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)))
    assert not read(white, [*BY_COLOUR, {"name": "background", "colour": "#ffffff"}]).label.any()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([], "0 classes|class a value"),
        ([{"name": "polyp"}], "each class a value"),
        ([{"name": "polyp", "value": 1, "colour": "#ff0000"}], "each class a value"),
        ([{"name": "polyp", "value": 1}, {"name": "tool", "colour": "#ff0000"}], "each class a value"),
        ([{"name": "Polyp", "value": 1}, {"name": "Polyp ", "value": 2}], "wo classes have the name Polyp"),
        ([{"name": "polyp", "value": 1}, {"name": "tool", "value": 1}], "wo classes have the value 1"),
        (
            [{"name": "a", "colour": "#FF0000"}, {"name": "b", "colour": "#ff0000"}],
            "wo classes have the colour #ff0000",
        ),
        ([{"name": f"c{n}", "value": n} for n in range(1, 10)], "9 classes"),
        ([{"name": f"c{n}", "value": n} for n in range(1, 1000)], "at most 10 items"),
        ([{"name": "background", "value": 0}], "0 classes"),
        ([{"name": "", "value": 1}], "at least 1 character"),
        ([{"name": "x" * 61, "value": 1}], "at most 60 characters"),
        ([{"name": "a,b", "value": 1}], "match pattern"),
        ([{"name": "a\x00", "value": 1}], "match pattern"),
        ([{"name": "<b>", "value": 1}], "match pattern"),
        ([{"name": "polyp", "value": 65536}], "less than or equal to 65535"),
        ([{"name": "polyp", "value": -1}], "greater than or equal to 0"),
        ([{"name": "polyp", "value": 1.5}], "integer"),
        ([{"name": "polyp", "colour": "red"}], "match pattern"),
        ([{"name": "polyp", "value": 1, "shade": 2}], "Extra inputs"),
        ("polyp", "valid tuple"),
    ],
)
def test_a_list_of_classes_that_contradicts_itself_is_refused_with_a_reason(
    classes: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(WrongClasses, match=words):
        checked_classes(classes)
    with pytest.raises(ValidationError):
        CheckOptions.model_validate({"classes": classes})


def test_eight_classes_and_a_background_can_be_told_apart(tmp_path: Path) -> None:
    values = np.arange(9, dtype=np.uint8).repeat(SIDE_PX * SIDE_PX // 9 + 1)[: SIDE_PX**2].reshape(SIDE_PX, SIDE_PX)
    classes = [{"name": f"c{n}", "value": n} for n in range(1, 9)] + [{"name": "background", "value": 0}]
    assert np.array_equal(read(save(tmp_path / "m.png", Image.fromarray(values)), classes).label, values)


def test_a_folder_is_read_by_its_classes_and_each_is_counted(tmp_path: Path) -> None:
    names = draw_class_folder(tmp_path, 6)
    labels = [np.asarray(Image.open(tmp_path / "masks" / f"{name}.png")) for name in names]
    stored: list[bytes] = []
    classes = [{"name": "polyp", "value": 1}, {"name": "scar", "value": 2}, {"name": "tool", "value": 3}]
    options = CheckOptions.model_validate({"classes": classes})

    report = check_folder(tmp_path, options, on_pair=lambda pair: stored.append(pair.encoded.label_png), workers=1)

    assert report.class_names == ["polyp", "scar", "tool"]
    assert [each.pairs for each in report.classes] == [sum((label == n).any() for label in labels) for n in (1, 2, 3)]
    assert [np.array_equal(read_label(png, 3), label) for png, label in zip(stored, labels, strict=True)] == [True] * 6
    (warning,) = [finding for finding in report.findings if finding.severity == "warning"]
    assert (warning.code, warning.file) == ("class-not-shown", "tool")
    assert f"Classes: polyp in {report.classes[0].pairs} pairs, scar in" in report.in_words()
    assert ImportReport.model_validate_json(report.model_dump_json()) == report


def test_a_folder_of_values_that_are_no_class_names_each_file(tmp_path: Path) -> None:
    draw_class_folder(tmp_path, 4)
    report = check(tmp_path, classes=[{"name": "polyp", "value": 1}])
    refused = {finding.file: finding for finding in report.findings if finding.severity == "error"}
    shown = {
        f"masks/{path.name}" for path in (tmp_path / "masks").iterdir() if (np.asarray(Image.open(path)) == 2).any()
    }
    assert refused.keys() == shown
    assert {finding.code for finding in refused.values()} == {"unknown-class"}
    assert "--classes" in next(iter(refused.values())).what_to_do


def test_the_folders_own_list_of_classes_is_used_unless_others_are_given(tmp_path: Path) -> None:
    draw_class_folder(tmp_path, 3)
    (tmp_path / "classes.json").write_text(class_list(["polyp", "scar"]), encoding="utf-8")
    report = check(tmp_path)
    assert report.class_names == ["polyp", "scar"]
    assert {finding.code for finding in report.findings} == {"classes-used"}
    given = check(tmp_path, classes=[{"name": "a", "value": 1}, {"name": "b", "value": 2}])
    assert given.class_names == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        '{"0": "polyp"}',
        '{"classes": ["polyp", "normal"]}',
        '{"classes": [{"id": 0, "name": "polyp", "color": "#fff"}]}',
    ],
)
def test_another_tools_list_of_classes_is_told_about_and_harms_nothing(tmp_path: Path, text: str) -> None:
    draw_folder(tmp_path, 2)
    (tmp_path / "classes.json").write_text(text)
    report = check(tmp_path)
    assert report.accepted == 2
    assert report.class_names == []
    assert [finding.code for finding in report.findings] == ["classes-not-read"]


@pytest.mark.parametrize("text", ['{"classes": [{"name": "polyp", "value": 1}', "[" * 100_000])
def test_a_list_of_classes_that_cannot_be_read_does_not_make_one_lesion_of_them_all(tmp_path: Path, text: str) -> None:
    draw_class_folder(tmp_path, 2)
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(WrongClasses, match="not JSON"):
        check(tmp_path)


def test_a_list_of_classes_saved_by_an_editor_that_marks_its_encoding_is_read(tmp_path: Path) -> None:
    draw_class_folder(tmp_path, 2)
    (tmp_path / "classes.json").write_text(class_list(["polyp", "scar"]), encoding="utf-8-sig")
    assert check(tmp_path).class_names == ["polyp", "scar"]


def test_two_lists_of_classes_that_differ_do_not_speak_for_each_others_labels(tmp_path: Path) -> None:
    for folder, names in (("a", ["polyp", "scar"]), ("b", ["scar", "polyp"])):
        draw_class_folder(tmp_path / folder, 2)
        (tmp_path / folder / "classes.json").write_text(class_list(names))
    with pytest.raises(WrongClasses, match=r"a/classes.json and b/classes.json list different classes"):
        check(tmp_path)


def test_background_is_no_class_however_it_is_written() -> None:
    listed = [{"name": "Background", "value": 0}, {"name": "polyp", "value": 1}, {"name": "tool", "value": 2}]
    assert names_of(checked_classes(listed)) == ["polyp", "tool"]


def test_an_even_area_of_a_colour_near_to_a_listed_one_is_a_class_that_was_not_listed(tmp_path: Path) -> None:
    pixels = np.array(coloured())
    pixels[:8, :8] = (235, 12, 0)
    with pytest.raises(UnknownClass, match="#eb0c00"):
        read(save(tmp_path / "m.png", Image.fromarray(pixels)), BY_COLOUR)


def test_a_list_of_classes_with_a_fault_ends_the_check_before_a_picture_is_misread(tmp_path: Path) -> None:
    draw_class_folder(tmp_path, 2)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": [{"name": "polyp", "value": "one"}]}))
    with pytest.raises(WrongClasses, match="integer"):
        check(tmp_path)


@pytest.mark.parametrize("names", [["polyp"], ["polyp", "scar"], ["Łódź 1", "b", "c", "d", "e", "f", "g", "h"]])
def test_what_is_stored_comes_back_by_the_list_that_is_stored_beside_it(tmp_path: Path, names: list[str]) -> None:
    classes = read_class_list(class_list(names))
    assert classes is not None
    assert names_of(classes) == names
    label = np.minimum(class_map(), len(names)).astype(np.uint8)
    png = stored_label_bytes(label, classes_of(names))
    (tmp_path / "m.png").write_bytes(png)
    image = DecodedImage(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), 1)
    assert np.array_equal(decode_label(tmp_path / "m.png", 10**7, "corrected", image, marks_of(classes)).label, label)
    assert np.array_equal(read_label(png, classes_of(names)), label)
