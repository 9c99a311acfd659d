"""Sheets and overlays show where labels are without hiding what they enclose."""

from io import BytesIO

import numpy as np
from PIL import Image

from segsmith_shared.pairs.classes import MOST_CLASSES
from segsmith_shared.pairs.contact_sheet import CLASS_COLOURS, LABEL_COLOUR, REGION_COLOUR, enlarged, overlay, sheet


def test_an_outline_runs_around_the_lesion_and_leaves_it_as_it_is() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    label = np.zeros((64, 64), np.bool_)
    label[20:40, 20:40] = True
    drawn = np.asarray(overlay(image, label))
    assert (drawn[20:40, 20:40] == 120).all()
    assert tuple(drawn[19, 30]) == LABEL_COLOUR
    assert (drawn[:10] == 120).all()
    assert (image == 120).all()


def test_a_label_of_another_size_lies_where_it_belongs() -> None:
    label = np.zeros((256, 512), np.bool_)
    label[128:, 256:] = True
    drawn = np.asarray(overlay(Image.new("RGB", (64, 32)), label))
    assert tuple(drawn[15, 40]) == LABEL_COLOUR
    assert tuple(drawn[25, 31]) == LABEL_COLOUR
    assert (drawn[:14] == 0).all()


def test_label_and_region_have_colours_of_their_own() -> None:
    region = np.zeros((64, 64), np.bool_)
    region[10:50, 10:50] = True
    label = np.zeros((64, 64), np.bool_)
    label[20:40, 20:40] = True
    drawn = np.asarray(overlay(np.zeros((64, 64, 3), np.uint8), label, region))
    assert tuple(drawn[9, 30]) == REGION_COLOUR
    assert tuple(drawn[19, 30]) == LABEL_COLOUR


def test_a_sheet_has_a_cell_for_every_picture_and_room_for_words() -> None:
    red, tall = Image.new("RGB", (300, 300), (255, 0, 0)), Image.new("RGB", (8, 16), (0, 0, 255))
    plain = Image.open(BytesIO(sheet([[red, tall], [red]], cell_px=50)))
    worded = Image.open(BytesIO(sheet([[red, tall], [red]], ["first", "second"], ["source", "sample"], cell_px=50)))
    assert plain.size[0] == worded.size[0] == 4 + 2 * 54
    assert worded.size[1] == plain.size[1] + 3 * 16
    assert plain.getpixel((29, 29)) == (255, 0, 0)
    assert plain.getpixel((83, 29)) == (0, 0, 255)
    assert Image.open(BytesIO(sheet([]))).size[1] > 0


def test_a_small_picture_is_enlarged_by_its_real_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    big = np.asarray(enlarged(Image.fromarray(pixels), 64))
    assert big.shape == (32, 64, 3)
    assert (big[::8, ::8] == pixels).all()


def test_each_class_has_an_outline_of_its_own_colour() -> None:
    label = np.zeros((64, 96), np.uint8)
    label[20:40, 10:30], label[20:40, 60:80] = 1, 3
    drawn = np.asarray(overlay(np.zeros((64, 96, 3), np.uint8), label))
    assert tuple(drawn[19, 20]) == LABEL_COLOUR == CLASS_COLOURS[0]
    assert tuple(drawn[19, 70]) == CLASS_COLOURS[2]
    assert not (drawn == CLASS_COLOURS[1]).all(axis=-1).any()
    assert len({*CLASS_COLOURS, REGION_COLOUR}) == MOST_CLASSES + 1
