"""RePaint's walk through the noise levels, so that a run's cost is known before it starts."""

from collections.abc import Iterator
from typing import Literal, NamedTuple


class Move(NamedTuple):
    """One step of the walk: `denoise` goes from `level` to `level − 1` (from 0 to clean), `renoise` to `level + 1`."""

    kind: Literal["denoise", "renoise"]
    level: int


def jump_moves(steps: int, jump_length: int, visits: int) -> Iterator[Move]:
    """The moves of RePaint's resampling (Lugmayr et al. 2022, §4.2) over levels steps − 1 … 0.

    On first reaching a level divisible by `jump_length`, and low enough to jump back from, the walk goes `jump_length`
    levels up again, `visits` − 1 times over. steps 200, jump 10, visits 5: levels 1–190 five times, the others once.
    """
    jumps_left = dict.fromkeys(range(0, steps - jump_length, jump_length), visits - 1)
    level = steps - 1
    while level >= 0:
        yield Move("denoise", level)
        level -= 1
        if jumps_left.get(level, 0) > 0:
            jumps_left[level] -= 1
            for _ in range(jump_length):
                yield Move("renoise", level)
                level += 1


def count_evaluations(steps: int, jump_length: int, visits: int) -> int:
    """U-Net evaluations of the walk: steps + jump_length·(visits − 1)·⌈(steps − jump_length) / jump_length⌉."""
    jumps = max(0, -(-(steps - jump_length) // jump_length))
    return steps + jump_length * (visits - 1) * jumps
