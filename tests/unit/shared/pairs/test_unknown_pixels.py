"""Pixels of which nothing is known stay unknown from the label file to the model's square, and count nowhere."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsmith_shared.pairs.checking import CheckedPair, CheckOptions, check_folder
from segsmith_shared.pairs.classes import class_list, read_class_list
from segsmith_shared.pairs.contact_sheet import CLASS_COLOURS, IGNORED_COLOUR, overlay
from segsmith_shared.pairs.geometry import to_model_arrays
from segsmith_shared.pairs.intake import DecodedImage
from segsmith_shared.pairs.label_files import decode_labels
from segsmith_shared.pairs.lesions import count_lesions
from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL, Pair
from segsmith_shared.pairs.png_files import label_png_bytes, stored_label_bytes
from segsmith_shared.storage.pair_arrays import class_maps_of, labels_of, read_label
from tests.fixtures.label_sets import drawn_image
from tests.fixtures.pair_folders import save

SIDE_PX = 40


def class_map(classes: int = 1) -> np.ndarray:
    """A block of each class, and a strip of unknown pixels that touches the first."""
    label = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for number in range(1, classes + 1):
        label[4:12, 10 * number : 10 * number + 6] = number
    label[12:20, 10:30] = IGNORE
    return label


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_unknown_pixels_come_back_from_storage_as_they_went_in(classes: int) -> None:
    label = class_map(classes)
    png = stored_label_bytes(label, classes)
    assert np.array_equal(read_label(png, classes), label)
    assert Image.open(_stream(png)).getpixel((10, 12)) == (IGNORE_LEVEL if classes == 1 else IGNORE)


@pytest.mark.parametrize("classes", [1, 2])
def test_a_label_without_unknown_pixels_is_stored_by_the_same_bytes_as_ever(classes: int) -> None:
    label = np.where(class_map(classes) == IGNORE, 0, class_map(classes)).astype(np.uint8)
    if classes == 1:
        assert stored_label_bytes(label, 1) == label_png_bytes(label > 0)
    assert set(np.unique(np.asarray(Image.open(_stream(stored_label_bytes(label, classes)))))) <= {0, 1, 2, 255}


@pytest.mark.parametrize("geometry", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_model_s_square_says_in_every_plane_what_is_unknown(geometry: str, classes: int) -> None:
    label = class_map(classes)
    square = to_model_arrays(Pair("x", np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), label), 20, geometry, classes)
    reduced = label[1::2, 1::2]
    assert (square[3:] == IGNORE_LEVEL).all(axis=0).tolist() == (reduced == IGNORE).tolist()
    assert np.array_equal(class_maps_of(square[None])[0], reduced)
    assert np.array_equal(labels_of(square[None])[0], (reduced > 0) & (reduced != IGNORE))


def test_unknown_pixels_are_no_lesion_and_join_none() -> None:
    assert count_lesions(class_map(2)) == (2, 48)
    assert count_lesions(np.full((8, 8), IGNORE, np.uint8)) == (0, 0)


def test_unknown_pixels_are_hatched_and_not_outlined() -> None:
    pixels = np.asarray(overlay(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), class_map()))
    hatched = (pixels == IGNORED_COLOUR).all(axis=-1)
    inside = class_map() == IGNORE
    assert 0.1 < hatched[inside].mean() < 0.9
    assert not hatched[~inside].any()
    assert {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()} == {
        (0, 0, 0),
        IGNORED_COLOUR,
        CLASS_COLOURS[0],
    }


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([0, 1, 255], [{"name": "a", "value": 1}]),
        ([0, 7, 255], [{"name": "a", "value": 7}, {"name": "b", "value": 9}]),
        ([0, 255, 128], [{"name": "a", "value": 255}, {"name": "Ignore", "value": 128}]),
        (
            [9, 1000, 0],
            [{"name": "background", "value": 9}, {"name": "a", "value": 1000}, {"name": "ignore", "value": 0}],
        ),
    ],
)
def test_unknown_pixels_beside_named_classes_are_left_out_of_every_figure(
    tmp_path: Path, values: list[int], classes: list[dict[str, object]]
) -> None:
    truth = class_map()
    numbers = np.array(values, np.uint16)[np.where(truth == IGNORE, 2, truth)]
    save(tmp_path / "images" / "a.png", Image.fromarray(drawn_image(0)[:SIDE_PX, :SIDE_PX]))
    label = numbers if numbers.max() > 255 else numbers.astype(np.uint8)
    save(tmp_path / "masks" / "a.png", Image.fromarray(label))
    taken: list[CheckedPair] = []
    report = check_folder(tmp_path, CheckOptions.model_validate({"classes": classes}), on_pair=taken.append, workers=1)
    named = [each["name"] for each in classes if str(each["name"]).lower() not in {"background", "ignore"}]
    assert report.class_names == named
    assert report.counts.ignored_regions == 1
    assert "1 pair with unknown regions" in report.in_words()
    assert np.array_equal(read_label(taken[0].encoded.label_png, len(named)), truth)
    assert taken[0].read.lesion_fraction == (truth == 1).mean()
    assert taken[0].read.class_pixels == [48, 0][: len(named)]


def test_of_several_label_files_what_one_knows_is_known(tmp_path: Path) -> None:
    known = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    known[12:16, 10:30] = 1
    paths = [
        save(tmp_path / f"{name}.png", Image.fromarray(label)) for name, label in {"a": class_map(), "b": known}.items()
    ]
    image = DecodedImage(drawn_image(0)[:SIDE_PX, :SIDE_PX], 1)
    united = np.where(known > 0, known, class_map())
    for files in (paths, paths[::-1]):
        assert np.array_equal(decode_labels(files, 10**6, "corrected", image).label, united)


def test_255_among_greater_numbers_is_a_number_like_them(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", Image.fromarray(drawn_image(0)[:SIDE_PX, :SIDE_PX]))
    numbers = np.array([0, 1000, 255], np.uint16)[np.where(class_map() == IGNORE, 2, class_map())]
    save(tmp_path / "masks" / "a.png", Image.fromarray(numbers))
    options = CheckOptions.model_validate({"classes": [{"name": "a", "value": 1000}]})
    report = check_folder(tmp_path, options, workers=1)
    assert [finding.code for finding in report.findings if finding.severity == "error"] == ["unknown-class"]


def test_a_download_s_list_of_classes_names_the_stored_value_of_unknown_pixels(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", Image.fromarray(drawn_image(0)[:SIDE_PX, :SIDE_PX]))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(stored_label_bytes(class_map(), 1))
    (tmp_path / "classes.json").write_text(class_list(["lesion"], ignored=True), encoding="utf-8")
    taken: list[CheckedPair] = []
    report = check_folder(tmp_path, on_pair=taken.append, workers=1)
    assert report.class_names == ["lesion"]
    assert np.array_equal(read_label(taken[0].encoded.label_png), class_map())
    assert read_class_list(class_list(["a", "b"], ignored=True)) == read_class_list(class_list(["a", "b"]))


def _stream(data: bytes) -> BytesIO:
    return BytesIO(data)
