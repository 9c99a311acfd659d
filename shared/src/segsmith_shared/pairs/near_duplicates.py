"""Pictures that show the same thing must never be told apart as train and test: groups by look, and by sequence."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Measured on 548 Kvasir and 100 CVC pictures. Hashes alone confuse pictures that only share the endoscope's black
# frame, the colours of a 16 × 16 reduction alone confuse close colours: together the three true pairs of Kvasir stand
# at .958 to 1.000 and what looks different at .946 and below.
CANDIDATE_BITS = 24
COLOUR_SIMILARITY = 0.95
# Of pictures in different versions, where a match is an accusation: copies of the same 648, mirrored, reduced to 200 px
# and saved as JPEG of quality 60, differ in at most 4 bits at a similarity of .998; other pictures, in any orientation,
# in 13 bits or more, or are less similar than .98.
COPY_BITS, COPY_SIMILARITY = 12, 0.98
SIMILAR_BITS = 20
_BLOCK = 2048


COLOUR_PRINT_PX = 16
ORIENTATIONS = ("as it is", "mirrored", "upside down", "turned by 180°")


@dataclass(frozen=True)
class Look:
    """What a picture looks like: two 64-bit hashes, and its 16 × 16 RGB reduction as bytes.

    `turned_hashes` are the same two of the picture in the further `ORIENTATIONS`; empty where they are not known.
    """

    difference_hash: int
    perceptual_hash: int
    colour_print: bytes
    turned_hashes: tuple[tuple[int, int], ...] = ()

    @property
    def hash_bytes(self) -> bytes:
        """All hashes, 8 bytes each, little-endian: of the picture as it is, then of each further orientation."""
        pairs = ((self.difference_hash, self.perceptual_hash), *self.turned_hashes)
        return np.array(pairs, "<u8").tobytes()

    @classmethod
    def from_bytes(cls, hash_bytes: bytes, colour_print: bytes) -> "Look":
        """The look that `hash_bytes` and `colour_print` were taken from."""
        first, *others = [(int(dh), int(ph)) for dh, ph in np.frombuffer(hash_bytes, "<u8").reshape(-1, 2)]
        return cls(*first, colour_print, tuple(others))

    def in_orientation(self, number: int) -> "Look":
        """The look of the picture in one of `ORIENTATIONS`."""
        if number == 0:
            return self
        grid = np.frombuffer(self.colour_print, np.uint8).reshape(COLOUR_PRINT_PX, COLOUR_PRINT_PX, 3)
        turned = {1: grid[:, ::-1], 2: grid[::-1], 3: grid[::-1, ::-1]}[number]
        return Look(*self.turned_hashes[number - 1], turned.tobytes())


@dataclass(frozen=True)
class LookAlike:
    """Picture `first` of one list looks like picture `second` of another, turned as `ORIENTATIONS[orientation]`.

    `is_copy`: they are the same picture, re-encoded or resized. Else they are as alike as frames of one sequence are.
    """

    first: int
    second: int
    likeness: float
    orientation: int
    is_copy: bool


def look_alikes(first: Sequence[Look], second: Sequence[Look]) -> list[LookAlike]:
    """For each picture of `first` that has one, the most alike of `second`.

    Copies are found in every orientation, neighbouring frames upright alone: turned pictures of strangers come as close
    as these do. Takes 4 · n · m hash comparisons, in blocks.
    """
    best: dict[int, LookAlike] = {}
    hashes, prints = _hashes(first), [_centred(look.colour_print) for look in first]
    for number in range(len(ORIENTATIONS) if all(look.turned_hashes for look in second) else 1):
        turned = [look.in_orientation(number) for look in second]
        other_prints = [_centred(look.colour_print) for look in turned]
        for i, j, bits in _close(hashes, _hashes(turned), COPY_BITS if number else SIMILAR_BITS):
            likeness = float(prints[i] @ other_prints[j])
            is_copy = bits <= COPY_BITS and likeness >= COPY_SIMILARITY
            alike = is_copy or (number == 0 and likeness >= COLOUR_SIMILARITY)
            if alike and (i not in best or likeness > best[i].likeness):
                best[i] = LookAlike(i, j, likeness, number, is_copy)
    return [best[i] for i in sorted(best)]


def turned_copies(looks: Sequence[Look]) -> list[tuple[int, int, float]]:
    """Pairs i < j of which one is the other mirrored or turned upside down, as augmentation on disk leaves them."""
    hashes, prints = _hashes(looks), [_centred(look.colour_print) for look in looks]
    found: dict[tuple[int, int], float] = {}
    for number in range(1, len(ORIENTATIONS)) if all(look.turned_hashes for look in looks) else ():
        turned = [look.in_orientation(number) for look in looks]
        turned_prints = [_centred(look.colour_print) for look in turned]
        for i, j, _ in _close(hashes, _hashes(turned), COPY_BITS):
            if i < j and (likeness := float(prints[i] @ turned_prints[j])) >= COPY_SIMILARITY:
                found[i, j] = max(likeness, found.get((i, j), 0.0))
    return [(i, j, likeness) for (i, j), likeness in sorted(found.items())]


def _hashes(looks: Sequence[Look]) -> NDArray[np.uint64]:
    return np.array([(look.difference_hash, look.perceptual_hash) for look in looks], np.uint64).reshape(-1, 2)


def _close(hashes: NDArray[np.uint64], others: NDArray[np.uint64], most_bits: int) -> Iterable[tuple[int, int, int]]:
    """Places i, j of hashes (n, 2) and (m, 2) that differ in at most so many bits, and in how many."""
    for start in range(0, len(hashes), _BLOCK):
        for other in range(0, len(others), _BLOCK):
            block, across = hashes[start : start + _BLOCK], others[other : other + _BLOCK]
            bits = sum(np.bitwise_count(block[:, None, kind] ^ across[None, :, kind]) for kind in (0, 1))
            for i, j in np.argwhere(bits <= most_bits):
                yield start + int(i), other + int(j), int(bits[i, j])


def near_duplicate_pairs(looks: Sequence[Look], similarity: float = COLOUR_SIMILARITY) -> list[tuple[int, int, float]]:
    """Pairs i < j whose hashes differ in at most 24 of 128 bits and whose colours correlate by `similarity` or more.

    All pairs are compared, in blocks: 10,000 pictures take about a second and 100 MB.
    """
    hashes, prints = _hashes(looks), [_centred(look.colour_print) for look in looks]
    found = []
    for start in range(0, len(looks), _BLOCK):
        for near, far, _ in _close(hashes[start : start + _BLOCK], hashes[start:], CANDIDATE_BITS):
            i, j = start + near, start + far
            if i >= j:
                continue
            likeness = float(prints[i] @ prints[j])
            if likeness >= similarity:
                found.append((i, j, likeness))
    return found


def _centred(colour_print: bytes) -> NDArray[np.float32]:
    """The reduction as a vector of length 1, its mean colour taken out."""
    colours = np.frombuffer(colour_print, np.uint8).reshape(-1, 3).astype(np.float32)
    vector: NDArray[np.float32] = (colours - colours.mean(axis=0)).ravel()
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / max(length, 1e-6))


def joined_groups(
    count: int, links: Iterable[tuple[int, int]], keys: Sequence[Hashable | None] = ()
) -> list[int | None]:
    """The group of each of `count` things joined by links, and by equal keys; None for what stands alone.

    Groups are numbered from 0 in the order of their first member.
    """
    parent = list(range(count))

    def root_of(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[Hashable, int] = {}
    by_key = [(first_with.setdefault(key, index), index) for index, key in enumerate(keys) if key is not None]
    for i, j in [*links, *by_key]:
        low, high = sorted((root_of(i), root_of(j)))
        parent[high] = low
    roots = [root_of(index) for index in range(count)]
    shared = {root for index, root in enumerate(roots) if root != index}
    numbers = {root: number for number, root in enumerate(sorted(shared))}
    return [numbers.get(root) for root in roots]
