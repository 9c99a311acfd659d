"""Which pairs train a segmentation model: real, synthetic or both; the validation pairs are given.

Everything random here depends on the seed and on a source's name alone, never on which samples exist: a rejected
sample changes no other pair's turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segsmith_shared.plans.specs import Policy
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import numpy_generator_for

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

# The authors' share of synthetic pairs in `append_bernoulli`, and DA-Fusion's in `replace_on_access`.
SYNTHETIC_SHARE = 0.5


class TooFewSources(InvalidInput):
    """An arm has no pair to train on, or fewer than it asks for."""

    title = "Too few pairs to train on"


@dataclass(frozen=True)
class Pairs:
    """Pairs of one origin: images uint8 (n, H, W, 3), class maps uint8 (n, H, W), sources and own names."""

    images: Images
    labels: Labels
    sources: Sequence[str]
    names: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.sources) == len(self.names):
            raise ValueError("images, labels, sources and names must be equally long")


def chosen_pairs(pairs: Pairs, places: Sequence[int]) -> Pairs:
    """The pairs at these places, in this order."""
    at = list(places)
    return Pairs(
        pairs.images[at], pairs.labels[at], [pairs.sources[place] for place in at], [pairs.names[place] for place in at]
    )


class Row(NamedTuple):
    """A pair: its source, the set it is in (0: the real pairs, 1…: the synthetic sets in order) and its place there."""

    source: str
    set_number: int
    place: int


class Draw(NamedTuple):
    """One entry of an epoch: at each access one of `rows` is drawn with these weights.

    `slot` numbers the entries that there would be if no sample were missing; it decides the entry's turn in an epoch.
    """

    rows: tuple[int, ...]
    weights: tuple[float, ...]
    slot: int


@dataclass(frozen=True)
class SegmentationData:
    """What a training reads: training pairs, the entries that draw from them, and the validation pairs."""

    images: Images
    labels: Labels
    draws: tuple[Draw, ...]
    validation_images: Images
    validation_labels: Labels

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """The slot of every draw, (len(draws),)."""
        return np.array([draw.slot for draw in self.draws], np.int64)

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The draws in the order of this epoch: by a number drawn for each slot, (len(draws),)."""
        if (seed, epoch) not in self._orders:
            turns = numpy_generator_for(seed, "segmentation-epoch", epoch).random(int(self.slots.max()) + 1)
            self._orders.clear()
            self._orders[seed, epoch] = np.argsort(turns[self.slots], kind="stable")
        return self._orders[seed, epoch]

    @cached_property
    def _orders(self) -> dict[tuple[int, int], NDArray[np.int64]]:
        """The order that was asked for last, by seed and epoch: sorting a large set again for every picture is slow."""
        return {}


def prepare_arm(
    real: Pairs,
    sets: Sequence[Pairs],
    validation: Pairs,
    *,
    use_real: bool,
    real_limit: int | None,
    policy: Policy,
    seed: int,
) -> tuple[SegmentationData, dict[str, Any]]:
    """The data of one arm and its manifest: which pairs train and which validate, by name.

    `real_limit` = n trains on exactly n real pairs chosen by the seed, the same for every arm and nested in each other
    (the first 16 of 64 are the 16), and on their samples only. `validation` is used as it is. Raises TooFewSources.
    """
    rows = arm_rows(real.sources, [each.sources for each in sets], use_real=use_real, limit=real_limit, seed=seed)
    # without real pairs to join there is nothing for a policy to decide
    training, draws = draws_of(rows, policy if use_real else "pool", seed, sources=real.sources, sets=len(sets))
    if not training:
        raise TooFewSources("The arm has no pair to train on.", hint="Look at why the samples were rejected.")
    parts = [real, *sets]
    data = SegmentationData(*_gather(training, parts), draws, validation.images, validation.labels)
    manifest = {"policy": policy, "train": _names(training, parts), "validation": list(validation.names)}
    return data, manifest


def arm_rows(
    real_sources: Sequence[str],
    set_sources: Sequence[Sequence[str]],
    *,
    use_real: bool,
    limit: int | None,
    seed: int,
) -> list[Row]:
    """The arm's pairs, real ones first, of all sources or of `limit` chosen by the seed among the real ones.

    Raises TooFewSources where there are fewer real pairs than `limit`.
    """
    if limit is not None and limit > len(set(real_sources)):
        raise TooFewSources(
            f"The arm asks for {limit} real pairs; there are {len(set(real_sources))} to train on.",
            hint="Lower real_limit: validation and test pairs are set aside before.",
        )
    chosen = None if limit is None else set(_shuffled(real_sources, "segmentation-sources", seed)[:limit])
    parts = [real_sources if use_real else [], *set_sources]
    return [
        Row(source, number, place)
        for number, sources in enumerate(parts)
        for place, source in enumerate(sources)
        if chosen is None or source in chosen
    ]


def draws_of(
    rows: Sequence[Row], policy: Policy, seed: int, *, sources: Sequence[str], sets: int
) -> tuple[list[Row], tuple[Draw, ...]]:
    """The rows that can be shown at all, and the entries of an epoch that draw from them (science §7).

    `pool`: every row once. `append_bernoulli` (the authors'): every real row, and for each real row one toss: all of
    its synthetic rows, or none. `append_each_bernoulli`: a toss for every synthetic row. `replace_on_access`: an entry
    per source, at each access replaced by one of its synthetic pairs with probability one half. `uniform_ij`: an entry
    per source, at each access any of its pairs. `sources` are all that could have rows, `sets` counts synthetic sets.
    """
    rank = {source: place for place, source in enumerate(sorted(set(sources)))}
    kept = _tossed(rows, policy, seed, rank, sets)
    if policy in ("pool", "append_bernoulli", "append_each_bernoulli"):
        slots = [row.set_number * len(rank) + rank[row.source] for row in kept]
        return kept, tuple(Draw((place,), (1.0,), slot) for place, slot in enumerate(slots))
    places: dict[str, list[int]] = {}
    for place, row in enumerate(kept):
        places.setdefault(row.source, []).append(place)
    share = SYNTHETIC_SHARE if policy == "replace_on_access" else None
    return kept, tuple(_draw(kept, members, share, rank[source]) for source, members in places.items())


def _tossed(rows: Sequence[Row], policy: Policy, seed: int, rank: dict[str, int], sets: int) -> list[Row]:
    """The real rows and the synthetic ones that the tosses keep: one toss per source, or per source and set."""
    if policy not in ("append_bernoulli", "append_each_bernoulli"):
        return list(rows)
    # one line of tosses per set, so that what is tossed for the first sets does not depend on how many there are
    tosses = numpy_generator_for(seed, "segmentation-append").random((sets, len(rank)))
    each = policy == "append_each_bernoulli"

    def kept(row: Row) -> bool:
        if row.set_number == 0:
            return True
        return bool(tosses[row.set_number - 1 if each else 0, rank[row.source]] < SYNTHETIC_SHARE)

    return [row for row in rows if kept(row)]


def _draw(rows: Sequence[Row], members: Sequence[int], synthetic_share: float | None, slot: int) -> Draw:
    """A draw among `members`: uniform, or real against synthetic by the share where both are there."""
    synthetic = sum(rows[place].set_number > 0 for place in members)
    real = len(members) - synthetic
    if synthetic_share is None or not (synthetic and real):
        return Draw(tuple(members), (1 / len(members),) * len(members), slot)
    weights = [
        synthetic_share / synthetic if rows[place].set_number else (1 - synthetic_share) / real for place in members
    ]
    return Draw(tuple(members), tuple(weights), slot)


def _shuffled(sources: Sequence[str], purpose: str, seed: int) -> list[str]:
    unique = sorted(set(sources))
    return [unique[place] for place in numpy_generator_for(seed, purpose).permutation(len(unique))]


def _gather(rows: Sequence[Row], parts: Sequence[Pairs]) -> tuple[Images, Labels]:
    return (
        np.stack([parts[row.set_number].images[row.place] for row in rows]),
        np.stack([parts[row.set_number].labels[row.place] for row in rows]),
    )


def _names(rows: Sequence[Row], parts: Sequence[Pairs]) -> list[str]:
    return [parts[row.set_number].names[row.place] for row in rows]
