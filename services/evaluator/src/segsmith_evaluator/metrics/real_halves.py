"""How far real pictures lie from each other, measured just as a synthetic set is: same domain, same n on both sides.

FID grows as n shrinks, and the distance between two datasets (a training set and a test set of another clinic) is no
yardstick for either. So the real training pictures are divided at random into halves, again and again: the distance of
one half from the other stands beside that of as many synthetic pictures from the same half. Neither is a bound: a set
that repeats training pictures can lie nearer to them than they lie to each other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segsmith_evaluator.metrics.figures import Figure, OnCount, quantile_bounds
from segsmith_evaluator.metrics.kid import MINIMUM_IMAGES
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Features, Interrupted

REPEATS = 20
SMALLEST_HALF = MINIMUM_IMAGES  # that of KID, so that both distances exist for the same sets
Places = NDArray[np.int64]
Distance = Callable[[Features, Features], float]


class Repeat(NamedTuple):
    """Places (h,) of one division: a half of the real pictures, others of the other half, and synthetic pictures."""

    real: Places
    other_real: Places
    synthetic: Places


class MatchedFigures(NamedTuple):
    """The distance of real pictures, and of synthetic ones, from the same halves of the real ones, at the same n."""

    real: Figure
    synthetic: Figure


def divisions(
    n_real: int, n_synthetic: int, groups: Sequence[int | None] | None, seed: int, repeats: int = REPEATS
) -> Iterator[Repeat]:
    """Random halves of the real pictures, each with as many synthetic ones; h is the same in all three.

    Real pictures of one group (near-duplicates, frames of one patient) stay in one half: else they would make the
    halves look closer than new pictures are.
    """
    for repeat in range(repeats):
        rng = numpy_generator_for(seed, "real-halves", repeat)
        first, second = _halves(n_real, groups, rng)
        size = min(len(first), len(second), n_synthetic)
        yield Repeat(rng.permutation(first)[:size], rng.permutation(second)[:size], rng.permutation(n_synthetic)[:size])


def matched_figures(
    real: Features,
    synthetic: Features,
    distance: Distance,
    *,
    groups: Sequence[int | None] | None,
    seed: int,
    repeats: int = REPEATS,
    on_step: OnCount | None = None,
) -> MatchedFigures | None:
    """The mean over `repeats` divisions, with the 2.5 % and 97.5 % quantiles over them; n is that of each side.

    None where a half, or the synthetic set, has fewer than `SMALLEST_HALF` pictures. `on_step` counts divisions;
    returning True raises Interrupted.
    """
    values, sizes = [], []
    for done, repeat in enumerate(divisions(len(real), len(synthetic), groups, seed, repeats), start=1):
        if len(repeat.real) < SMALLEST_HALF:
            return None
        half = real[repeat.real]
        values.append((distance(half, real[repeat.other_real]), distance(half, synthetic[repeat.synthetic])))
        sizes.append(len(half))
        if on_step is not None and on_step(done, repeats):
            raise Interrupted
    of_real, of_synthetic = np.array(values).T
    return MatchedFigures(_figure(of_real, min(sizes)), _figure(of_synthetic, min(sizes)))


def _halves(count: int, groups: Sequence[int | None] | None, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Whole groups, the largest first, each to the half that has fewer pictures."""
    members: dict[object, list[int]] = {}
    for place in range(count):
        group = groups[place] if groups is not None else None
        members.setdefault(("alone", place) if group is None else group, []).append(place)
    shuffled = list(members.values())
    order = sorted((shuffled[place] for place in rng.permutation(len(shuffled))), key=len, reverse=True)
    halves: tuple[list[int], list[int]] = [], []
    for each in order:
        halves[len(halves[0]) > len(halves[1])].extend(each)
    return halves


def _figure(values: NDArray[np.float64], n: int) -> Figure:
    low, high = quantile_bounds(values)
    return Figure(value=float(values.mean()), low=low, high=high, n=n, detail={"divisions": len(values)})
