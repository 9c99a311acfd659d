"""Two ways of doing the same thing, timed in turn, so that a machine whose speed drifts is fair to both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Rounds:
    """Seconds of each way in each round."""

    first: list[float]
    second: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long as the first the second took: the median of the rounds' own ratios."""
        return median(self._ratios)

    @property
    def ratio_range(self) -> str:
        """The lowest and the highest of them."""
        return f"{min(self._ratios):.2f} to {max(self._ratios):.2f}"

    @property
    def _ratios(self) -> list[float]:
        return [slow / quick for quick, slow in zip(self.first, self.second, strict=True)]


def paired_rounds(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Rounds:
    """`rounds` turns A B A B …, after one turn of each that is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for taken, work in zip(seconds, (first, second), strict=True):
            begun = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - begun)
    return Rounds(*seconds)


def paired_seconds(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of each over `paired_rounds`."""
    measured = paired_rounds(first, second, rounds)
    return median(measured.first), median(measured.second)
