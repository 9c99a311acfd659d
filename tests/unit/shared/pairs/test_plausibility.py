"""A set that cannot be meant is doubted as a whole, with two files to look at; nothing of it is imported if strict."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from tests.fixtures.label_sets import HEIGHT_PX, WIDTH_PX, drawn_image, grey, lesion, save_set
from tests.fixtures.pair_folders import save

COUNT = 4


def report_on(root: Path, **options: object) -> ImportReport:
    return check_folder(root, CheckOptions.model_validate(options), workers=1)


def save_masks(root: Path, masks: list[np.ndarray]) -> None:
    save_set(root, {f"p{index}": grey(mask * 255) for index, mask in enumerate(masks)})


def warnings(report: ImportReport) -> dict[str, str]:
    return {finding.code: finding.what for finding in report.findings if finding.severity == "warning"}


def disc(wide_px: float) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    return np.asarray((rows - HEIGHT_PX / 2) ** 2 + (columns - WIDTH_PX / 2) ** 2 < (wide_px / 2) ** 2)


def test_a_set_that_can_be_meant_raises_no_doubt(tmp_path: Path) -> None:
    save_masks(tmp_path, [lesion(index) for index in range(COUNT)])
    report = report_on(tmp_path, strict=True)
    assert not report.findings
    assert report.accepted == COUNT


@pytest.mark.parametrize("inverted", [1, 2, 4])
def test_inverted_labels_are_doubted_with_the_option_that_reads_them(tmp_path: Path, inverted: int) -> None:
    save_masks(tmp_path, [lesion(index) ^ (index < inverted) for index in range(COUNT)])
    doubts = warnings(report_on(tmp_path))
    code = "labels-inverted" if inverted == COUNT else "some-labels-inverted"
    assert f"{inverted} of 4 labels mark over half of the picture and its border" in doubts[code]
    assert inverted < 2 or "also masks/p1.png" in doubts[code]


@pytest.mark.parametrize(("inverted", "advised"), [(3, False), (4, True)])
def test_black_as_the_foreground_is_advised_only_where_no_label_is_right(
    tmp_path: Path, inverted: int, *, advised: bool
) -> None:
    """It would invert the right ones."""
    save_masks(tmp_path, [lesion(index) ^ (index < inverted) for index in range(COUNT)])
    advice = [finding.what_to_do for finding in report_on(tmp_path).findings if finding.code.endswith("inverted")]
    assert [("--foreground 0" in each) for each in advice] == [advised]


@pytest.mark.parametrize("wide_px", [20.1, 30, 46])
def test_the_same_area_in_every_picture_is_a_field_of_view(tmp_path: Path, wide_px: int) -> None:
    save_masks(tmp_path, [disc(wide_px + 0.1 * index) for index in range(COUNT)])
    assert "4 of 4 labels of different pictures" in warnings(report_on(tmp_path))["labels-all-alike"]


def test_pictures_that_use_twelve_of_sixteen_bits_are_called_nearly_black(tmp_path: Path) -> None:
    for index in range(COUNT):
        values = drawn_image(index)[..., 0].astype(np.uint16) * 16
        save(tmp_path / "images" / f"p{index}.png", Image.fromarray(values))
        save(tmp_path / "masks" / f"p{index}.png", grey(lesion(index) * 255))
    what = warnings(report_on(tmp_path))["nearly-black"]
    assert what.startswith("4 of 4 pictures are nearly black: highest value ")
    assert "of 65535" in what


def test_exchanged_folders_are_recognised(tmp_path: Path) -> None:
    for index in range(COUNT):
        save(tmp_path / "masks" / f"p{index}.png", Image.fromarray(drawn_image(index)))
        save(tmp_path / "images" / f"p{index}.png", grey(lesion(index) * 255))
    report = report_on(tmp_path)
    assert report.accepted == 0
    assert "images-and-labels-swapped" in warnings(report)


@pytest.mark.parametrize(("side_px", "vanished"), [(16, 3), (48, 0), (None, 0)])
def test_lesions_without_a_pixel_at_the_preset_s_side_are_counted(
    tmp_path: Path, side_px: int | None, vanished: int
) -> None:
    masks = [lesion(0), *(np.zeros((HEIGHT_PX, WIDTH_PX), np.bool_) for _ in range(3))]
    for index, mask in enumerate(masks[1:]):
        mask[12 + 6 * index, 8 + 8 * index] = True  # between the pixels that nearest neighbour takes at 16 px
    save_masks(tmp_path, masks)
    what = warnings(report_on(tmp_path, at_side_px=side_px)).get("lesions-vanish", "")
    assert what.startswith(f"{vanished} of 4 lesions, in {vanished} of 4 pairs" if vanished else "")
    assert bool(what) == bool(vanished)


def test_a_turned_picture_whose_label_may_not_be_turned_is_a_warning(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    for index in range(2):
        save(
            tmp_path / "images" / f"p{index}.jpg",
            Image.fromarray(drawn_image(index)),
            **({"exif": exif} if index else {}),
        )
        save(tmp_path / "masks" / f"p{index}.png", grey(lesion(index) * 255))
    report = report_on(tmp_path)
    assert [finding.file for finding in report.findings if finding.code == "label-perhaps-unturned"] == ["masks/p1.png"]
    assert "1 of 2" in warnings(report)["label-perhaps-unturned"]


def test_a_strict_check_gives_none_of_an_implausible_set_and_all_of_a_good_one(tmp_path: Path) -> None:
    save_masks(tmp_path / "good", [lesion(index) for index in range(COUNT)])
    save_masks(tmp_path / "bad", [~lesion(index) for index in range(COUNT)])
    options = CheckOptions(strict=True)
    taken: list[str] = []
    report = check_folder(tmp_path / "bad", options, on_pair=lambda pair: taken.append(pair.name), workers=1)
    assert (report.accepted, taken, report.refused) == (0, [], ["labels-inverted"])
    assert "Nothing is imported: labels-inverted" in report.in_words()
    report = check_folder(tmp_path / "good", options, on_pair=lambda pair: taken.append(pair.name), workers=1)
    assert taken == [f"p{index}" for index in range(COUNT)]


def test_a_set_without_any_lesion_is_an_error_and_some_negatives_are_data(tmp_path: Path) -> None:
    nothing = np.zeros((HEIGHT_PX, WIDTH_PX), np.bool_)
    save_masks(tmp_path / "some", [lesion(0), nothing, nothing])
    report = report_on(tmp_path / "some")
    assert (report.accepted, report.counts.negatives_accepted) == (3, 2)
    assert "2 pictures without a lesion (negatives)." in report.in_words()
    save_masks(tmp_path / "none", [nothing] * 3)
    report = report_on(tmp_path / "none")
    assert (report.accepted, report.refused) == (0, ["no-lesion-at-all"])
