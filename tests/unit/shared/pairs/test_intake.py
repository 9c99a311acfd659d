"""Every way of saving a picture or a label that people have is read as they meant it, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from segsmith_shared.pairs import bad_pictures
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.intake import TRANSPOSES, DecodedImage, decode_image
from segsmith_shared.pairs.label_files import decode_label
from segsmith_shared.pairs.png_files import image_png_bytes, is_grey, label_png_bytes, png_bytes, thumbnail_of
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.storage.pair_arrays import read_image
from tests.fixtures.pair_folders import blank_png, save, square_label

MANY = 10**7


def grey_image(side_px: int = 64, orientation: int = 1) -> DecodedImage:
    return DecodedImage(np.zeros((side_px, side_px, 3), np.uint8), orientation)


def read_label(path: Path, procedure: str = "corrected") -> np.ndarray:
    return decode_label(path, MANY, procedure, grey_image()).label


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_a_picture_is_read_from_every_lossless_format_as_it_was(tmp_path: Path, ending: str) -> None:
    image, _ = draw_pair(0, 1, 48)
    options = {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path / f"a.{ending}", Image.fromarray(image), **options)
    assert (decode_image(path, MANY).image == image).all()


def test_the_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    image, _ = draw_pair(0, 1, 48)
    path = save(tmp_path / "a.png", Image.fromarray(image)).rename(tmp_path / "a.jpg")
    assert (decode_image(path, MANY).image == image).all()


def test_grey_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    image, _ = draw_pair(0, 2, 48)
    picture = Image.fromarray(image)
    grey = decode_image(save(tmp_path / "grey.png", picture.convert("L")), MANY).image
    assert (grey == np.asarray(picture.convert("L"))[..., None]).all()
    palette = decode_image(save(tmp_path / "p.png", picture.quantize(256)), MANY).image
    assert np.abs(palette.astype(int) - image).mean() < 6
    cmyk = decode_image(save(tmp_path / "cmyk.tif", picture.convert("CMYK")), MANY).image
    assert np.abs(cmyk.astype(int) - image).max() <= 1


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    decoded = decode_image(save(tmp_path / "deep.png", Image.fromarray(values)), MANY)
    assert (decoded.image[..., 0] == np.round(values / 257)).all()
    assert "16-bit" in decoded.notes[0]


def test_transparent_parts_become_black(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[:, 4:, 3] = 0
    pixels[:, :4, 3] = 255
    decoded = decode_image(save(tmp_path / "a.png", Image.fromarray(pixels)), MANY)
    assert (decoded.image[:, :4] == 200).all()
    assert (decoded.image[:, 4:] == 0).all()
    assert decoded.notes


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, orientation: int, ending: str) -> None:
    image, _ = draw_pair(0, 3, 48)
    upright = Image.fromarray(image[:32])
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright.transpose(TRANSPOSES[inverse])
    if ending == "tif":
        tags = ImageFileDirectory_v2()
        tags[274] = orientation
        path = save(tmp_path / "a.tif", stored, tiffinfo=tags)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        path = save(tmp_path / "a.png", stored, exif=exif)
    assert (decode_image(path, MANY).image == np.asarray(upright)).all()


def test_a_label_drawn_on_the_unturned_picture_is_turned_with_it(tmp_path: Path) -> None:
    stored = np.zeros((40, 64), np.uint8)
    stored[:10, :20] = 255
    path = save(tmp_path / "m.png", Image.fromarray(stored))
    image = DecodedImage(np.zeros((64, 40, 3), np.uint8), orientation=6)
    decoded = decode_label(path, MANY, "corrected", image)
    assert (decoded.label == (np.rot90(stored, -1) > 0)).all()
    assert decoded.notes


def test_a_label_means_the_same_however_it_was_saved(tmp_path: Path) -> None:
    grey = square_label()
    truth = np.asarray(grey) > 0
    alpha = Image.merge("RGBA", [Image.new("L", grey.size)] * 3 + [grey])
    red = Image.merge("RGB", [grey, Image.new("L", grey.size), Image.new("L", grey.size)])
    class_palette = Image.fromarray(truth.astype(np.uint8))
    class_palette.putpalette([0, 0, 0, 128, 0, 0])
    black_palette = Image.fromarray(truth.astype(np.uint8))
    black_palette.putpalette([0, 0, 0, 0, 0, 0])
    ways = {
        "one-bit.png": grey.convert("1"),
        "rgb.png": grey.convert("RGB"),
        "opaque.png": grey.convert("RGBA"),
        "alpha.png": alpha,
        "red.png": red,
        "classes.png": class_palette,
        "black-palette.png": black_palette,
        "zero-one.png": Image.fromarray(truth.astype(np.uint8)),
        "deep.png": Image.fromarray(truth.astype(np.uint16) * 65535),
        "grey.bmp": grey,
    }
    for name, picture in ways.items():
        assert (read_label(save(tmp_path / name, picture)) == truth).all(), name
    jpeg = read_label(save(tmp_path / "rgb.jpg", grey.convert("RGB"), quality=75))
    assert (jpeg != truth).mean() < 0.01


def test_a_label_of_zeros_and_ones_is_said_to_be_one(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", Image.fromarray((np.asarray(square_label()) > 0).astype(np.uint8)))
    assert "0 and 1" in decode_label(path, MANY, "corrected", grey_image()).notes[0]


def test_the_procedures_differ_only_where_a_label_is_soft(tmp_path: Path) -> None:
    values = np.zeros((64, 64), np.uint8)
    values[10:20, 10:20] = 255
    values[20:26, 10:20] = np.array([200, 160, 128, 127, 80, 40])[:, None]
    path = save(tmp_path / "m.png", Image.fromarray(values))
    assert read_label(path, "corrected").sum() == 130
    assert read_label(path, "authors").sum() == 160


def test_a_class_map_is_refused_rather_than_read_as_empty(tmp_path: Path) -> None:
    classes = (np.asarray(square_label()) > 0).astype(np.uint8) * 3
    with pytest.raises(bad_pictures.LabelWithoutThreshold, match="highest value is 3"):
        read_label(save(tmp_path / "m.png", Image.fromarray(classes)))


@pytest.mark.parametrize(
    ("content", "problem", "words"),
    [
        (b"", bad_pictures.EmptyFile, "no bytes"),
        (b"Not yet exported, sorry.\n" * 4, bad_pictures.NoPicture, "holds text"),
        (b"GIF89a\x01\x00\x01\x00", bad_pictures.NoPicture, "GIF"),
        (b"%PDF-1.7 ...", bad_pictures.NoPicture, "PDF"),
        (bytes(128) + b"DICM" + bytes(64), bad_pictures.NoPicture, "DICOM"),
        (bytes(range(256)) * 4, bad_pictures.NoPicture, "like no picture"),
        (blank_png(64, 64)[:52], bad_pictures.UnreadableFile, "truncated"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, problem: type[bad_pictures.BadPicture], words: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(problem, match=words) as caught:
        decode_image(path, MANY)
    assert caught.value.hint


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    floats = Image.fromarray(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
    with pytest.raises(bad_pictures.UnsupportedPixels):
        decode_image(save(tmp_path / "f.tif", floats), MANY)
    wide = Image.fromarray(np.full((8, 8), 10**6, np.int32))
    with pytest.raises(bad_pictures.UnsupportedPixels, match="1000000"):
        decode_image(save(tmp_path / "i.tif", wide), MANY)


def test_animations_and_documents_of_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    path = tmp_path / "pages.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(bad_pictures.TooManyFrames, match="3 frames"):
        decode_image(path, MANY)


def test_our_png_is_lossless_small_and_holds_no_metadata(tmp_path: Path) -> None:
    image, label = draw_pair(0, 4, 96)
    for pixels, data in ((image[:, :50], png_bytes(image[:, :50])), (label * np.uint8(255), label_png_bytes(label))):
        path = tmp_path / "a.png"
        path.write_bytes(data)
        with Image.open(path) as picture:
            picture.verify()
        with Image.open(path) as picture:
            assert (np.asarray(picture) == pixels).all()
            assert not picture.info
    assert len(png_bytes(image)) < 0.8 * image.size


def test_a_thumbnail_fits_and_is_never_enlarged() -> None:
    assert thumbnail_of(np.zeros((600, 800, 3), np.uint8)).size == (256, 192)
    assert thumbnail_of(np.zeros((60, 80, 3), np.uint8)).size == (80, 60)


def test_an_image_without_colour_is_stored_in_one_channel_and_read_back_in_three() -> None:
    rng = numpy_generator_for(0, "test-grey")
    coloured = rng.integers(256, size=(6, 5, 3), dtype=np.uint8)
    grey = np.repeat(coloured[..., :1], 3, axis=2)
    assert (is_grey(grey), is_grey(coloured)) == (True, False)
    assert len(image_png_bytes(grey)) < len(image_png_bytes(coloured))
    for image in (grey, coloured):
        assert np.array_equal(read_image(image_png_bytes(image)), image)
