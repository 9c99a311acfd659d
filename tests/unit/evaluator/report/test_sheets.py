"""Contact sheets show every group enlarged with crisp pixels."""

import io

import numpy as np
from PIL import Image

from segsmith_evaluator.report.sheets import CELL_PX, sheet_png
from segsmith_shared.pairs.contact_sheet import LABEL_COLOUR, REGION_COLOUR
from tests.unit.evaluator.report.drawn_report import drawn_group


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_sheet_has_two_groups_of_three_tiles_abreast() -> None:
    three, two = (pixels(sheet_png([drawn_group(index) for index in range(n)])) for n in (3, 2))
    assert three.shape[1] == two.shape[1] > 6 * CELL_PX
    assert three.shape[0] > two.shape[0] + CELL_PX


def test_a_single_group_needs_no_second_column() -> None:
    assert 3 * CELL_PX < pixels(sheet_png([drawn_group(0)])).shape[1] < 4 * CELL_PX


def test_labels_and_regions_are_outlined_in_their_colours() -> None:
    sheet = pixels(sheet_png([drawn_group(0)]))
    for colour in (LABEL_COLOUR, REGION_COLOUR):
        assert (sheet == np.array(colour)).all(axis=-1).sum() > CELL_PX


def test_large_pictures_are_reduced_to_the_same_cells() -> None:
    assert pixels(sheet_png([drawn_group(0, side_px=256)])).shape == pixels(sheet_png([drawn_group(0)])).shape
