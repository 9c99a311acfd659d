"""Two ways of doing the same thing, timed in turn, so that a machine whose speed drifts is fair to both."""

import time
from collections.abc import Callable
from statistics import median


def paired_seconds(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of each over `rounds` turns A B A B …, after one turn of each that is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for taken, work in zip(seconds, (first, second), strict=True):
            begun = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - begun)
    return median(seconds[0]), median(seconds[1])
