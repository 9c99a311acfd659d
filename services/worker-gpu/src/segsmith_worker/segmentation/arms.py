"""Which pairs a segmentation model is fed: real, synthetic or both, split so that no source is on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import numpy_generator_for

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Policy = Literal["pool", "append_bernoulli", "replace_on_access", "uniform_ij"]

# The authors' share of synthetic pairs in `append_bernoulli`, and DA-Fusion's in `replace_on_access`.
SYNTHETIC_SHARE = 0.5


class TooFewSources(InvalidInput):
    """Training and validation need a source image each."""

    title = "Too few source images to train and to validate"


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


class Row(NamedTuple):
    """A pair: its source, the set it is in (0: the real pairs, 1…: the synthetic sets in order) and its place there."""

    source: str
    set_number: int
    place: int


class Draw(NamedTuple):
    """What one entry of an epoch may show: one of `rows` with these weights, drawn anew at each access."""

    rows: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class SegmentationData:
    """What a training reads: pairs with the entries that draw from them, and the validation pairs of other sources."""

    images: Images
    labels: Labels
    draws: tuple[Draw, ...]
    validation_images: Images
    validation_labels: Labels


def prepare_arm(
    real: Pairs,
    sets: Sequence[Pairs],
    *,
    use_real: bool,
    real_limit: int | None,
    policy: Policy,
    validation_fraction: float,
    seed: int,
) -> tuple[SegmentationData, dict[str, Any]]:
    """The data of one arm and its manifest: which pairs train and which validate, by name.

    `real_limit` chooses so many source images, the same for every arm of a seed and nested in each other (the first 16
    of 64 are the 16), and keeps only their synthetic pairs. Raises TooFewSources under two sources.
    """
    rows = arm_rows(real.sources, [each.sources for each in sets], use_real=use_real, limit=real_limit, seed=seed)
    training, validation = split_by_source(rows, validation_fraction, seed)
    fed, draws = draws_of(training, policy, seed)
    parts = [real, *sets]
    data = SegmentationData(*_gather(fed, parts), draws, *_gather(validation, parts))
    manifest = {"policy": policy, "train": _names(fed, parts), "validation": _names(validation, parts)}
    return data, manifest


def arm_rows(
    real_sources: Sequence[str],
    set_sources: Sequence[Sequence[str]],
    *,
    use_real: bool,
    limit: int | None,
    seed: int,
) -> list[Row]:
    """The arm's pairs, real ones first, of all sources or of `limit` chosen by the seed among the real ones."""
    chosen = None if limit is None else set(_shuffled(real_sources, "segmentation-sources", seed)[:limit])
    parts = [real_sources if use_real else [], *set_sources]
    return [
        Row(source, number, place)
        for number, sources in enumerate(parts)
        for place, source in enumerate(sources)
        if chosen is None or source in chosen
    ]


def split_by_source(rows: Sequence[Row], validation_fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and validation rows; all rows of a source go to one side. Raises TooFewSources under two sources."""
    sources = _shuffled([row.source for row in rows], "segmentation-split", seed)
    if len(sources) < 2:
        raise TooFewSources(
            f"The arm has {len(sources)} source images.", hint="Give at least two, better sixteen or more."
        )
    held_out = set(sources[: max(1, round(len(sources) * validation_fraction))])
    return [row for row in rows if row.source not in held_out], [row for row in rows if row.source in held_out]


def draws_of(rows: Sequence[Row], policy: Policy, seed: int) -> tuple[list[Row], tuple[Draw, ...]]:
    """The rows that can be shown at all, and the entries of an epoch that draw from them (science §7).

    `pool`: every row once. `append_bernoulli`: every real row, and each synthetic one with probability one half, tossed
    once. `replace_on_access`: an entry per real row, at each access replaced by one of its synthetic pairs with
    probability one half. `uniform_ij`: an entry per source, at each access any of its pairs.
    """
    if policy == "append_bernoulli":
        rng = numpy_generator_for(seed, "segmentation-append")
        rows = [row for row in rows if rng.random() < SYNTHETIC_SHARE or row.set_number == 0]
    if policy in ("pool", "append_bernoulli"):
        return list(rows), tuple(Draw((place,), (1.0,)) for place in range(len(rows)))
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.source, []).append(place)
    share = SYNTHETIC_SHARE if policy == "replace_on_access" else None
    return list(rows), tuple(_draw(rows, members, share) for members in places.values())


def _draw(rows: Sequence[Row], members: Sequence[int], synthetic_share: float | None) -> Draw:
    """A draw among `members`: uniform, or real against synthetic by the share where both are there."""
    synthetic = sum(rows[place].set_number > 0 for place in members)
    real = len(members) - synthetic
    if synthetic_share is None or not (synthetic and real):
        return Draw(tuple(members), (1 / len(members),) * len(members))
    weights = [
        synthetic_share / synthetic if rows[place].set_number else (1 - synthetic_share) / real for place in members
    ]
    return Draw(tuple(members), tuple(weights))


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
