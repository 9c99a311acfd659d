"""Features of sets that no memory holds: read, computed and summed up shard by shard, and kept between slices."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Self
from uuid import UUID

import numpy as np
from safetensors.numpy import load, save

from segsmith_evaluator.metrics.evaluate_set import WholeSets
from segsmith_evaluator.metrics.moments import Moments, merged
from segsmith_evaluator.metrics.region import region_crops
from segsmith_shared.database.generations import accepted_after, regions_by_source
from segsmith_shared.database.pairs import members_of, pairs_after
from segsmith_shared.database.tables import Pair, Sample
from segsmith_shared.jobs.context import StepContext
from segsmith_shared.pairs.pair import BoolArray
from segsmith_shared.plans.specs import EvaluateJobSpec
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import StoredPair, images_of, read_region, read_squares
from segsmith_shared.vision.features import FeatureExtractor

SHARD_PICTURES = 500
"""At 256 px a quarter of a GiB with crops; of 2048 features a matrix product that is still worth its name."""

Side = Literal["real", "synthetic"]
SIDES: tuple[Side, ...] = ("real", "synthetic")


@dataclass(frozen=True)
class Shard:
    """Some stored pictures of one side, the object with each one's redrawn region, and where the walk then stands."""

    pictures: list[StoredPair]
    region_digests: list[str | None]
    position: int


@dataclass
class Sums:
    """The moments so far by name, how many pictures of each side they hold, and after which position each side goes on.

    A side that was walked to its end has the position None.
    """

    moments: dict[str, Moments] = field(default_factory=dict)
    positions: dict[Side, int | None] = field(default_factory=lambda: dict.fromkeys(SIDES, -1))

    def add(self, name: str, moments: Moments) -> None:
        self.moments[name] = merged(self.moments.get(name), moments)

    def done(self) -> int:
        """How many pictures are summed up."""
        return sum(self.moments[side].count for side in SIDES if side in self.moments)

    def whole_sets(self) -> WholeSets:
        """What an evaluation needs of both sides, once both were walked."""
        return WholeSets(
            self.moments["real"],
            self.moments["synthetic"],
            self.moments.get("real regions"),
            self.moments.get("synthetic regions"),
        )

    def store(self, objects: ObjectStore, extractor_digest: str) -> dict[str, object]:
        """Keep them for the next slice, which `stored` takes this document of."""
        arrays = {
            f"{name}/{part}": np.asarray(getattr(moments, part))
            for name, moments in self.moments.items()
            for part in ("count", "mean", "scatter")
        }
        moments = objects.put_bytes(save(arrays))
        return {"moments": moments, "positions": self.positions, "extractor": extractor_digest}

    @classmethod
    def stored(cls, objects: ObjectStore, document: dict[str, object] | None, extractor_digest: str) -> Self:
        """Those of `store`; none at the beginning.

        Nor where other weights took part, as when Inception was imported between two slices: its features and a
        stand-in's do not add up, so the walk begins anew.
        """
        if not document or document.get("extractor") != extractor_digest:
            return cls()
        arrays = load(objects.get_bytes(str(document["moments"])))
        names = {key.rpartition("/")[0] for key in arrays}
        moments = {
            name: Moments(int(arrays[f"{name}/count"]), arrays[f"{name}/mean"], arrays[f"{name}/scatter"])
            for name in sorted(names)
        }
        return cls(moments, dict(document["positions"]))  # type: ignore[call-overload]  # as `store` wrote it


@dataclass(frozen=True)
class Walk:
    """One evaluation's walk over all its pictures, real ones first."""

    context: StepContext
    spec: EvaluateJobSpec
    extractor: FeatureExtractor
    side_px: int
    crop_side_px: int
    total: int
    lesions_only: bool = False

    def sum_up(self, sums: Sums) -> bool:
        """Add shards until both sides are summed up (True), or the slice is over or a stop is asked for (False)."""
        for side in SIDES:
            position = sums.positions[side]
            if position is None:
                continue
            for shard in self._real_shards(position) if side == "real" else self._synthetic_shards(position):
                self._add(sums, side, shard)
                self.context.progress(sums.done(), self.total, "features of all pictures")
                if self.context.stop_requested() or self.context.slice_is_over():
                    return False
            sums.positions[side] = None
        return True

    def _add(self, sums: Sums, side: Side, shard: Shard) -> None:
        images = images_of(read_squares(self.context.objects, shard.pictures, self.side_px, self.spec.geometry))
        features = self.extractor.features(images)
        sums.add(side, Moments.of(features))
        regions = read_regions(self.context.objects, shard.region_digests, self.side_px)
        crops = region_crops(images, regions, self.crop_side_px)
        if len(crops):
            sums.add(f"{side} regions", Moments.of(self.extractor.features(crops)))
        sums.positions[side] = shard.position

    def _real_shards(self, position: int) -> Iterator[Shard]:
        part, spec = self.spec.pairs, self.spec
        with self.context.reading() as session:
            members = members_of(session, part)
        while True:
            with self.context.reading() as session:
                found = pairs_after(session, part.version_id, position, SHARD_PICTURES)
                meant = [pair for pair in found if self._is_meant(pair, members)]
                regions = regions_by_source(session, spec.generation_id, spec.sample_index, meant)
            if not found:
                return
            position = found[-1].position
            if meant:
                yield Shard(list(meant), [regions.get(pair.id) for pair in meant], position)

    def _is_meant(self, pair: Pair, members: frozenset[UUID] | None) -> bool:
        in_part = members is None or pair.id in members
        return in_part and (pair.lesion_fraction > 0 or not self.lesions_only)

    def _synthetic_shards(self, position: int) -> Iterator[Shard]:
        while True:
            with self.context.reading() as session:
                found = accepted_after(
                    session, self.spec.generation_id, self.spec.sample_index, position, SHARD_PICTURES
                )
            if not found:
                return
            position = found[-1][1]
            samples: list[Sample] = [sample for sample, _ in found]
            yield Shard(list(samples), [sample.region_digest for sample in samples], position)


def read_regions(objects: ObjectStore, digests: list[str | None], side_px: int) -> BoolArray:
    """bool (n, side, side): the stored regions; an empty one where there is none."""
    regions = np.zeros((len(digests), side_px, side_px), np.bool_)
    known = [place for place, digest in enumerate(digests) if digest is not None]
    contents = objects.get_many([digest for digest in digests if digest is not None])
    for place, content in zip(known, contents, strict=True):
        regions[place] = read_region(content)
    return regions
