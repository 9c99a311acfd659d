"""Contact sheets show every group enlarged with crisp pixels."""

import io

import numpy as np
from PIL import Image

from segsmith_evaluator.report.pictures import SampleGroup
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
    small = drawn_group(0)
    large = SampleGroup(
        source=times_six(small.source),
        source_label=times_six(small.source_label),
        redraw_region=times_six(small.redraw_region),
        sample=times_six(small.sample),
        sample_label=times_six(small.sample_label),
        caption=small.caption,
    )
    assert large.source.shape[0] > CELL_PX
    assert pixels(sheet_png([large])).shape == pixels(sheet_png([small])).shape


def times_six(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(pixels, 6, axis=0), 6, axis=1)
