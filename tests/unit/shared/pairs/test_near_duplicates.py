"""Twins are found among thousands, and strangers are not joined."""

import time
from io import BytesIO

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.near_duplicates import Look, joined_groups, near_duplicate_pairs


def look_of(picture: Image.Image) -> Look:
    small = picture.resize((16, 16), Image.Resampling.BOX)
    return Look(int(str(imagehash.dhash(picture)), 16), int(str(imagehash.phash(picture)), 16), small.tobytes())


def recompressed(picture: Image.Image) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream)


def test_twins_are_found_among_strangers() -> None:
    pictures = [Image.fromarray(draw_pair(5, index, 96)[0]) for index in range(40)]
    twins = {
        40: recompressed(pictures[3]),
        41: pictures[7].resize((150, 150)),
        42: ImageEnhance.Brightness(pictures[11]).enhance(1.1),
        43: pictures[20].crop((1, 1, 95, 95)),
    }
    found = near_duplicate_pairs([look_of(p) for p in [*pictures, *twins.values()]])
    assert [(i, j) for i, j, _ in found] == [(3, 40), (7, 41), (11, 42), (20, 43)]


def test_thousands_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    looks = [Look(int(a), int(b), rng.bytes(768)) for a, b in rng.integers(0, 2**63, (5000, 2))]
    looks[4321] = looks[17]
    began = time.process_time()
    assert [(i, j) for i, j, _ in near_duplicate_pairs(looks)] == [(17, 4321)]
    assert time.process_time() - began < 10


def test_pictures_of_one_colour_are_no_twins_of_everything() -> None:
    flat = Look(0, 0, bytes(768))
    assert near_duplicate_pairs([flat, flat]) == []
    assert near_duplicate_pairs([]) == []


@pytest.mark.parametrize(
    ("links", "keys", "groups"),
    [
        ([], [None] * 6, [None] * 6),
        ([(4, 5), (1, 4)], [None] * 6, [None, 0, None, None, 0, 0]),
        ([(0, 3)], [None, "s", None, None, "s", None], [0, 1, None, 0, 1, None]),
        ([(0, 1)], [None, "s", None, None, None, "s"], [0, 0, None, None, None, 0]),
    ],
)
def test_groups_join_by_look_and_by_sequence(
    links: list[tuple[int, int]], keys: list[str | None], groups: list[int | None]
) -> None:
    assert joined_groups(6, links, keys) == groups
