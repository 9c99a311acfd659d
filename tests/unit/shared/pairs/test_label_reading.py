"""A label file is read as it was meant, or refused with the very option that reads it: decided over the whole set."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.import_report import Finding
from tests.fixtures.label_sets import (
    HEIGHT_PX,
    VOC_COLOURS,
    WIDTH_PX,
    drawn_image,
    grey,
    lesion,
    palette_picture,
    read_set,
    save_set,
    with_rim,
)
from tests.fixtures.pair_folders import save

PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
EXTRA_SAMPLES, ASSOCIATED_ALPHA = 338, 1
COUNT = 4
NAMES = [f"p{index}" for index in range(COUNT)]
LESIONS = {name: lesion(index) for index, name in enumerate(NAMES)}


def instances(index: int, count: int, first: int = 1, step: int = 1) -> np.ndarray:
    """So many separate squares of 3 px, each of a number of its own."""
    values = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint16)
    for number in range(count):
        row, column = divmod(number + index, WIDTH_PX // 5)
        values[row * 5 + 1 : row * 5 + 4, column * 5 + 1 : column * 5 + 4] = first + step * number
    return values


def blocks(*values: int, ground: int = 0) -> np.ndarray:
    """A block of 8 × 8 px for each value on an even ground."""
    label = np.full((HEIGHT_PX, WIDTH_PX), ground, np.uint16)
    for place, value in enumerate(values):
        row, column = divmod(place, 6)
        label[10 * row + 4 : 10 * row + 12, 10 * column + 2 : 10 * column + 10] = value
    return label


def errors(report: ImportReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity == "error"]


def assert_read(
    root: Path, labels: dict[str, Image.Image], truth: dict[str, np.ndarray], **options: object
) -> ImportReport:
    save_set(root, labels)
    report, found = read_set(root, **options)
    assert not errors(report)
    for name, label in truth.items():
        assert np.array_equal(found[name], label.astype(np.uint8)), name
    return report


def voc(index: int, lesion_index: int = 1, *, void: bool = True) -> np.ndarray:
    inside = lesion(index)
    values = inside * lesion_index
    return np.where(with_rim(inside), 255, values) if void else values


@pytest.mark.parametrize("lesion_index", [1, 2, 8])
def test_the_void_border_of_a_voc_palette_is_unknown_and_its_dark_classes_are_lesions(
    tmp_path: Path, lesion_index: int
) -> None:
    labels = {name: palette_picture(voc(i, lesion_index), VOC_COLOURS) for i, name in enumerate(NAMES)}
    truth = {name: voc(i, 1) for i, name in enumerate(NAMES)}
    report = assert_read(tmp_path, labels, truth)
    assert report.counts.ignored_regions == COUNT
    assert report.statistics is not None
    assert report.statistics.lesion_fraction.median < 0.1
    assert f"index {lesion_index} read as lesion, 255 as unknown" in report.in_words()


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 255), (200, 200, 0)])
def test_index_zero_of_a_palette_is_background_whatever_its_colour(
    tmp_path: Path, ground: tuple[int, int, int]
) -> None:
    colours = {0: ground, 1: (220, 20, 60)}
    labels = {name: palette_picture(voc(i, void=False), colours) for i, name in enumerate(NAMES)}
    assert_read(tmp_path, labels, LESIONS)


def test_a_palette_that_only_saves_space_is_read_by_how_it_looks(tmp_path: Path) -> None:
    """Tools that reduce a black and white, or black and red, mask put either colour first."""
    inverted = {name: np.where(LESIONS[name], 0, 1) for name in NAMES}
    white = {name: palette_picture(inverted[name], {0: (255, 255, 255), 1: (0, 0, 0)}) for name in NAMES}
    assert_read(tmp_path / "white", white, LESIONS)
    red = {name: palette_picture(inverted[name], {0: (255, 0, 0), 1: (0, 0, 0)}) for name in NAMES}
    assert_read(tmp_path / "red", red, LESIONS)


@pytest.mark.parametrize("indices", [(1, 8), (1, 2), (2, 8, 1)])
def test_several_palette_indices_are_refused_with_the_commands_that_read_them(
    tmp_path: Path, indices: tuple[int, ...]
) -> None:
    values = blocks(*indices, 255)
    save_set(tmp_path, {name: palette_picture(values, VOC_COLOURS) for name in NAMES})
    report, _ = read_set(tmp_path)
    assert [finding.code for finding in errors(report)] == ["several-values"] * COUNT
    listed = ",".join(f"class{n}={index}" for n, index in enumerate(sorted(indices), start=1))
    assert f"--classes {listed};" in errors(report)[0].what_to_do
    for labels in ("instances", "palette"):
        report, found = read_set(tmp_path, labels=labels)
        assert np.array_equal(found["p0"], np.where(values == 255, 255, values > 0)), labels
    classes = [{"name": f"c{index}", "value": index} for index in indices]
    assert check_folder(tmp_path, CheckOptions.model_validate({"classes": classes}), workers=1).accepted == COUNT


def test_classes_in_different_palette_files_of_one_set_are_several_classes(tmp_path: Path) -> None:
    save_set(tmp_path, {name: palette_picture(voc(i, 1 + i % 2), VOC_COLOURS) for i, name in enumerate(NAMES)})
    report, _ = read_set(tmp_path)
    assert report.accepted == 0
    assert "--classes class1=1,class2=2" in errors(report)[0].what_to_do


@pytest.mark.parametrize(("count", "first", "step"), [(90, 1, 1), (60, 1, 4), (40, 1000, 300), (12, 3, 5)])
def test_numbers_of_instances_of_8_and_16_bits_are_all_lesion(
    tmp_path: Path, count: int, first: int, step: int
) -> None:
    values = {name: instances(i, count, first, step) for i, name in enumerate(NAMES)}
    values["p1"] = values["p1"] * (values["p1"] == first)  # a picture with one instance alone
    report = assert_read(
        tmp_path,
        {name: grey(label) for name, label in values.items()},
        {name: label > 0 for name, label in values.items()},
    )
    assert "instances: every value above 0 is lesion" in report.in_words()


@pytest.mark.parametrize(
    ("values", "ground", "command"),
    [
        ((1, 2, 3, 4, 5, 6, 255), 0, "--classes class1=1,class2=2,class3=3,class4=4,class5=5,class6=6;"),
        ((0, 128), 255, "--classes class1=0,class2=128,background=255;"),
        ((1, 3), 2, "--classes class1=1,class2=3,background=2;"),
        ((1, 2), 0, "--classes class1=1,class2=2;"),
        ((85, 170, 255), 0, "--classes class1=85,class2=170,class3=255;"),
        ((1000, 2000), 0, "--classes class1=1000,class2=2000;"),
        ((128, 255), 0, "--classes lesion=255,ignore=128"),
    ],
)
def test_a_map_of_few_values_is_refused_with_the_command_that_reads_it(
    tmp_path: Path, values: tuple[int, ...], ground: int, command: str
) -> None:
    save_set(tmp_path, {name: grey(blocks(*values, ground=ground)) for name in NAMES})
    report, _ = read_set(tmp_path)
    assert [finding.code for finding in errors(report)] == ["several-values"] * COUNT
    assert command in errors(report)[0].what_to_do
    assert f"{values[0]} (64 px)" in errors(report)[0].what


def test_the_command_that_a_refusal_names_does_read_the_set(tmp_path: Path) -> None:
    values = blocks(1, 2, 255)
    save_set(tmp_path, {name: grey(values) for name in NAMES})
    _, found = read_set(tmp_path, labels="instances")
    assert np.array_equal(found["p0"], np.where(values == 255, 255, values > 0))
    _, found = read_set(tmp_path, foreground="2")
    assert np.array_equal(found["p0"], values == 2)
    report = check_folder(tmp_path, CheckOptions.model_validate({"labels": "classes"}), workers=1)
    assert (report.class_names, report.accepted, report.counts.ignored_regions) == (["class1", "class2"], COUNT, COUNT)


def test_value_one_beside_255_is_a_lesion_with_unknown_pixels(tmp_path: Path) -> None:
    values = {name: voc(i) for i, name in enumerate(NAMES)}
    report = assert_read(tmp_path, {name: grey(label) for name, label in values.items()}, values)
    assert "value 1 read as lesion, 255 as unknown" in report.in_words()


def test_a_file_of_zeros_and_ones_is_read_as_the_rest_of_its_set(tmp_path: Path) -> None:
    ones = blocks(1)
    alone = {name: grey(ones) for name in NAMES}
    assert_read(tmp_path / "alone", alone, dict.fromkeys(NAMES, ones > 0))
    save_set(tmp_path / "classes", alone | {"p1": grey(blocks(1, 2)), "p2": grey(blocks(2, 3))})
    report, _ = read_set(tmp_path / "classes")
    assert report.accepted == 0
    mixed = alone | {"p3": grey(blocks(255))}
    assert_read(tmp_path / "mixed", mixed, dict.fromkeys(NAMES, ones > 0))


def test_one_odd_map_among_plain_masks_costs_that_pair_alone(tmp_path: Path) -> None:
    labels = {f"q{index}": grey(lesion(index) * 255) for index in range(8)}
    save_set(tmp_path, labels | {"q7": grey(blocks(1, 2, 3))})
    report, found = read_set(tmp_path)
    assert [finding.file for finding in errors(report)] == ["masks/q7.png"]
    assert len(found) == 7


@pytest.mark.parametrize("value", [3, 38, 127])
def test_one_dark_value_is_refused_and_read_once_it_is_named(tmp_path: Path, value: int) -> None:
    save_set(tmp_path, {name: grey(LESIONS[name] * value) for name in NAMES})
    report, _ = read_set(tmp_path)
    assert [finding.code for finding in errors(report)] == ["label-without-threshold"] * COUNT
    assert f"--foreground {value}" in errors(report)[0].what_to_do
    _, found = read_set(tmp_path, foreground=str(value))
    assert all(np.array_equal(found[name], LESIONS[name]) for name in NAMES)


def test_soft_edges_and_compression_noise_make_no_third_value(tmp_path: Path) -> None:
    for blur_px in (0.7, 2, 4):
        labels = {}
        for name in NAMES:
            sharp = Image.fromarray(LESIONS[name] * np.uint8(255)).resize((4 * WIDTH_PX, 4 * HEIGHT_PX))
            labels[name] = sharp.filter(ImageFilter.GaussianBlur(blur_px))
        root = tmp_path / f"blur-{blur_px}"
        for index, (name, label) in enumerate(labels.items()):
            save(root / "images" / f"{name}.png", Image.fromarray(drawn_image(index)).resize(label.size))
            save(root / "masks" / f"{name}.png", label)
        report, found = read_set(root)
        assert not errors(report)
        assert all(np.array_equal(found[name], np.asarray(labels[name]) >= 128) for name in NAMES)
    for quality in (30, 75, 95):
        root = tmp_path / f"jpeg-{quality}"
        for index, name in enumerate(NAMES):
            save(root / "images" / f"{name}.png", Image.fromarray(drawn_image(index)))
            save(root / "masks" / f"{name}.jpg", grey(LESIONS[name] * 255).convert("RGB"), quality=quality)
        report, found = read_set(root)
        assert not errors(report)
        assert all((found[name] != LESIONS[name]).mean() < 0.01 for name in NAMES)


def test_three_regions_stay_three_in_a_jpeg(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    values[8:40, 8:28], values[8:40, 36:56] = 128, 255
    save_set(tmp_path, {name: grey(values) for name in NAMES}, "jpg")
    report, _ = read_set(tmp_path)
    assert report.accepted == 0


def test_an_almost_black_border_of_some_files_is_no_class(tmp_path: Path) -> None:
    """CVC-ClinicDB's frame 4 has one of value 11."""
    values = {name: LESIONS[name] * np.uint8(255) for name in NAMES}
    values["p0"][:, :5] = 11
    truth = {name: label >= 128 for name, label in values.items()}
    assert_read(tmp_path, {name: grey(label) for name, label in values.items()}, truth)


@pytest.mark.parametrize(
    "colours", [[(255, 0, 0), (0, 255, 0)], [(255, 255, 255), (255, 0, 0)], [(0, 0, 255), (64, 64, 0)]]
)
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_several_colours_are_named_and_refused_with_the_command_that_reads_them(
    tmp_path: Path, colours: list[tuple[int, int, int]], ending: str
) -> None:
    table = np.array([(0, 0, 0), *colours], np.uint8)
    truth = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    truth[:16, :16], truth[24:40, 24:56] = 1, 2
    for index, name in enumerate(NAMES):
        save(tmp_path / "images" / f"{name}.png", Image.fromarray(drawn_image(index)))
        save(
            tmp_path / "masks" / f"{name}.{ending}",
            Image.fromarray(table[truth]),
            **({"quality": 95, "subsampling": 0} if ending == "jpg" else {}),
        )
    report, _ = read_set(tmp_path)
    assert {finding.code for finding in errors(report)} == {"several-colours"}
    advice = errors(report)[0].what_to_do
    assert "--classes 'class1=#" in advice
    _, found = read_set(tmp_path, labels="instances")
    assert ((found["p0"] > 0) != (truth > 0)).mean() < 0.05
    shown = advice.split("--foreground '")[1][:7]
    _, found = read_set(tmp_path, foreground=shown)
    assert 0.05 < found["p0"].mean() < 0.2


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 200, 60), (255, 255, 0)])
def test_one_colour_on_black_is_the_lesion_also_where_its_edge_is_soft(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    def coloured(inside: np.ndarray) -> Image.Image:
        soft = Image.fromarray(inside * np.uint8(255)).resize((WIDTH_PX // 2, HEIGHT_PX // 2), Image.Resampling.BOX)
        soft = soft.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.NEAREST)
        return Image.fromarray((np.asarray(soft)[..., None] / 255 * np.array(colour)).astype(np.uint8))

    save_set(tmp_path, {name: coloured(LESIONS[name]) for name in NAMES})
    report, found = read_set(tmp_path)
    assert not errors(report)
    assert all((found[name] != LESIONS[name]).mean() < 0.03 for name in NAMES)


def test_white_is_zero_is_read_as_white_is_zero_at_every_depth(tmp_path: Path) -> None:
    for kind, values in (("8", (1 - LESIONS["p0"]) * 255), ("16", (1 - LESIONS["p0"]) * 65535)):
        picture = grey(values)
        save(tmp_path / "images" / f"{kind}.png", Image.fromarray(drawn_image(0)))
        save(tmp_path / "masks" / f"{kind}.tif", picture)
        patch_tag(tmp_path / "masks" / f"{kind}.tif", PHOTOMETRIC, WHITE_IS_ZERO)
    report, found = read_set(tmp_path)
    assert not errors(report)
    assert all(np.array_equal(found[kind], LESIONS["p0"]) for kind in ("8", "16"))


def patch_tag(file: Path, tag: int, value: int) -> None:
    """Overwrite one number of a TIFF's directory, that no writer at hand would put there."""
    content, entry = file.read_bytes(), struct.pack("<HHI", tag, 3, 1)
    assert content.count(entry) == 1
    start = content.index(entry) + len(entry)
    file.write_bytes(content[:start] + struct.pack("<H", value) + content[start + 2 :])


@pytest.mark.parametrize("quality", [None, 75])
def test_an_inverted_set_is_read_with_black_as_the_foreground(tmp_path: Path, quality: int | None) -> None:
    for index, name in enumerate(NAMES):
        save(tmp_path / "images" / f"{name}.png", Image.fromarray(drawn_image(index)))
        ending, options = ("png", {}) if quality is None else ("jpg", {"quality": quality})
        save(tmp_path / "masks" / f"{name}.{ending}", grey(~LESIONS[name] * np.uint8(255)), **options)
    report, found = read_set(tmp_path, foreground="0")
    assert not errors(report)
    assert all((found[name] != LESIONS[name]).mean() < 0.01 for name in NAMES)


def test_a_fully_transparent_label_is_read_by_its_colours_and_that_is_said(tmp_path: Path) -> None:
    labels = {}
    for name in NAMES:
        picture = grey(LESIONS[name] * 255).convert("RGB" if name == "p0" else "L")
        picture.putalpha(0)
        labels[name] = picture
    report = assert_read(tmp_path, labels, LESIONS)
    assert "masks/p0.png: fully transparent: read by its colours" in report.in_words()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_that_was_multiplied_in_is_read_and_ends_no_check(tmp_path: Path, mode: str) -> None:
    labels = {name: grey(LESIONS[name] * 255) for name in NAMES}
    save_set(tmp_path, labels)
    (tmp_path / "masks" / "p0.png").unlink()
    save(tmp_path / "masks" / "p0.tif", labels["p0"].convert(mode))
    patch_tag(tmp_path / "masks" / "p0.tif", EXTRA_SAMPLES, ASSOCIATED_ALPHA)
    report, found = read_set(tmp_path)
    assert not errors(report)
    assert np.array_equal(found["p0"], LESIONS["p0"])


@pytest.mark.parametrize("kind", ["photograph", "heat map", "noise"])
def test_a_label_that_is_a_picture_is_refused_as_one(tmp_path: Path, kind: str) -> None:
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    for index, name in enumerate(NAMES):
        image = drawn_image(index)
        overlay = np.where(LESIONS[name][..., None], image // 2 + np.array([0, 127, 0], np.uint8), image)
        heat = (255 * np.exp(-(((rows - 20) / 20) ** 2) - ((columns - 30) / 25) ** 2)).astype(np.uint8)
        noise = np.random.default_rng(index).integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        label = {"photograph": overlay.astype(np.uint8), "heat map": heat, "noise": noise}[kind]
        save(tmp_path / "images" / f"{name}.png", Image.fromarray(image))
        save(tmp_path / "masks" / f"{name}.png", Image.fromarray(label))
    report, _ = read_set(tmp_path)
    assert {finding.code for finding in errors(report)} == {"label-looks-like-picture"}
    (doubt,) = [finding for finding in report.findings if finding.severity == "warning"]
    assert doubt.code == "labels-look-like-pictures"
    assert "4 of 4" in doubt.what


def test_a_palette_is_asked_for_and_a_file_without_one_says_so(tmp_path: Path) -> None:
    labels = {name: palette_picture(voc(i), VOC_COLOURS) for i, name in enumerate(NAMES)}
    save_set(tmp_path, labels | {"p3": grey(LESIONS["p3"] * 255)})
    report, found = read_set(tmp_path, labels="palette")
    assert [(finding.file, finding.what) for finding in errors(report)] == [("masks/p3.png", "not a palette file")]
    assert len(found) == 3
    _, by_brightness = read_set(tmp_path, labels="binary")
    assert np.array_equal(by_brightness["p0"], voc(0) > 0)


@pytest.mark.parametrize(
    "options",
    [
        {"foreground": "0", "labels": "instances"},
        {"foreground": "0", "classes": [{"name": "a", "value": 1}]},
        {"labels": "palette", "classes": [{"name": "a", "value": 1}]},
        {"foreground": "black"},
        {"labels": "guess"},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"exclude|not as labels|pattern|Input should be"):
        CheckOptions.model_validate(options)
