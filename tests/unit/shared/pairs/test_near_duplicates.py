"""Twins are found among thousands, and strangers are not joined."""

import time
from io import BytesIO

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.near_duplicates import (
    ORIENTATIONS,
    Look,
    joined_groups,
    look_alikes,
    near_duplicate_pairs,
    turned_copies,
)
from segsmith_shared.pairs.reading import hashes_of


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


TURNS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def whole_look_of(picture: Image.Image) -> Look:
    first, *turned = hashes_of(picture)
    small = picture.resize((16, 16), Image.Resampling.BOX)
    return Look(*first, small.tobytes(), tuple(turned))


def drawn(index: int) -> Image.Image:
    return Image.fromarray(draw_pair(5, index, 96)[0])


@pytest.mark.parametrize("number", range(4))
def test_a_copy_is_found_in_every_orientation_and_says_which(number: int) -> None:
    turn = TURNS[number]
    turned = drawn(7) if turn is None else drawn(7).transpose(turn)
    copy = recompressed(turned.resize((70, 70)))
    (found,) = look_alikes(
        [whole_look_of(drawn(50)), whole_look_of(copy)], [whole_look_of(drawn(index)) for index in range(12)]
    )
    assert (found.first, found.second, found.is_copy) == (1, 7, True)
    assert ORIENTATIONS[found.orientation] == ORIENTATIONS[number]


def test_what_a_look_keeps_in_bytes_it_gives_back() -> None:
    look = whole_look_of(drawn(3))
    assert Look.from_bytes(look.hash_bytes, look.colour_print) == look
    mirrored = whole_look_of(drawn(3).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert look.in_orientation(1).difference_hash == mirrored.difference_hash
    assert look.in_orientation(1).colour_print == mirrored.colour_print


def test_augmented_copies_within_a_folder_are_found_so_that_no_split_separates_them() -> None:
    pictures = [drawn(index) for index in range(20)]
    pictures += [recompressed(pictures[4].transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    pictures += [recompressed(pictures[9].transpose(Image.Transpose.ROTATE_180))]
    found = turned_copies([whole_look_of(picture) for picture in pictures])
    assert [(i, j) for i, j, _ in found] == [(4, 20), (9, 21)]


def test_looks_without_turned_hashes_are_compared_upright_alone() -> None:
    mirrored = look_of(drawn(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert turned_copies([look_of(drawn(4)), mirrored]) == []
    assert look_alikes([mirrored], [look_of(drawn(4))]) == []
    (upright,) = look_alikes([look_of(recompressed(drawn(4)))], [look_of(drawn(4))])
    assert upright.orientation == 0
