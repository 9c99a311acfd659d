"""Pairs are grouped by how image and label look, so that one diffusion model learns one kind of lesion (science §2)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from segsmith_shared.problems import InvalidInput
from segsmith_shared.vision.features import FeatureExtractor, Interrupted, OnStep

Images = NDArray[np.uint8]
Labels = NDArray[np.bool_]
Features = NDArray[np.float32]
Assignments = NDArray[np.int64]
OnCount = Callable[[int, int], bool | None]

_NAMED_AT_MOST = 10


class TooFewPairs(InvalidInput):
    """More clusters were asked for than there are different pairs."""

    title = "Too few pairs for this number of clusters"


class ClusteringMismatch(InvalidInput):
    """An imported clustering does not name every pair of the dataset exactly once."""

    title = "The clustering does not fit the dataset"


@dataclass(frozen=True)
class Merge:
    """A cluster under the minimum size and the one that took its pairs, both by their number before any merge."""

    cluster: int
    size: int
    into: int


@dataclass(frozen=True)
class ClusteringResult:
    """Which pair belongs to which cluster: `assignments` (n,) in 0…k−1, `centroids` float32 (k, d), `sizes` (k,)."""

    assignments: Assignments
    centroids: Features | None
    sizes: tuple[int, ...]
    method: str
    requested_clusters: int
    seed: int | None = None
    minimum_cluster_size: int | None = None
    merges: tuple[Merge, ...] = ()
    silhouettes: Mapping[int, float] = field(default_factory=dict)
    inertia: float | None = None
    library_versions: Mapping[str, str] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        return {
            "method": self.method,
            "requested_clusters": self.requested_clusters,
            "clusters": len(self.sizes),
            "sizes": list(self.sizes),
            "merges": [vars(merge) for merge in self.merges],
            "silhouettes": {str(count): value for count, value in self.silhouettes.items()},
            "inertia": self.inertia,
            "seed": self.seed,
            "minimum_cluster_size": self.minimum_cluster_size,
            "library_versions": dict(self.library_versions),
        }


def pair_features(
    images: Images, labels: Labels, extractor: FeatureExtractor, on_step: OnStep | None = None
) -> Features:
    """Features of each image and of its label drawn as black and white RGB, side by side: float32 (n, 2·dimension).

    images uint8 (n, H, W, 3), labels bool (n, H, W). `on_step` counts both passes. Raises Interrupted.
    """
    drawn_labels = np.repeat(labels[..., None].astype(np.uint8) * 255, 3, axis=-1)
    passes = [
        extractor.features(pictures, _shifted(on_step, done, 2 * len(images)))
        for done, pictures in ((0, images), (len(images), drawn_labels))
    ]
    return np.concatenate(passes, axis=1)


def _shifted(on_step: OnStep | None, done_before: int, total: int) -> OnStep | None:
    if on_step is None:
        return None
    return lambda done, _: on_step(done_before + done, total)


def cluster(
    features: Features,
    cluster_count: int,
    *,
    seed: int = 0,
    restarts: int = 10,
    minimum_cluster_size: int = 4,
    silhouette_counts: Sequence[int] = (),
    on_step: OnCount | None = None,
) -> ClusteringResult:
    """k-means of float32 (n, d), unscaled, on one thread so that the machine does not change the result.

    Clusters under `minimum_cluster_size` (1: off, as the authors) join the cluster with the nearest centroid, smallest
    first. Silhouettes are measured for `silhouette_counts` and the count asked for, where 2 ≤ k < n. `on_step` counts
    the k-means runs. Raises TooFewPairs where k exceeds the different rows, ValueError for features not finite.
    """
    _check_count(features, cluster_count)
    others = sorted({k for k in silhouette_counts if k != cluster_count and 2 <= k < _different_rows(features)})
    silhouettes: dict[int, float] = {}
    with threadpool_limits(limits=1):
        chosen = _k_means(features, cluster_count, seed, restarts)
        _report(on_step, 1, 1 + len(others))
        silhouettes |= _silhouette(features, chosen.labels_, cluster_count)
        for done, count in enumerate(others, start=2):
            silhouettes |= _silhouette(features, _k_means(features, count, seed, restarts).labels_, count)
            _report(on_step, done, 1 + len(others))
    assignments, merges = _merge_small(features, chosen.labels_.astype(np.int64), minimum_cluster_size)
    return ClusteringResult(
        assignments=assignments,
        centroids=_centroids(features, assignments),
        sizes=_sizes(assignments),
        method="k-means",
        requested_clusters=cluster_count,
        seed=seed,
        minimum_cluster_size=minimum_cluster_size,
        merges=tuple(merges),
        silhouettes=dict(sorted(silhouettes.items())),
        inertia=float(chosen.inertia_),
        library_versions={name: version(name) for name in ("scikit-learn", "numpy", "torch")},
    )


def with_others(found: ClusteringResult, features: Features, clustered: NDArray[np.bool_]) -> ClusteringResult:
    """A clustering of the rows `clustered` (n,) of features (n, d), extended to the others by the nearest centroid.

    Centroids stay as they are; `sizes` count all.
    """
    if found.centroids is None:
        raise ValueError("a clustering without centroids cannot be extended")
    assignments = np.empty(len(features), np.int64)
    assignments[clustered] = found.assignments
    distances = np.linalg.norm(features[~clustered][:, None] - found.centroids[None], axis=2)
    assignments[~clustered] = distances.argmin(axis=1)
    return replace(found, assignments=assignments, sizes=_sizes(assignments))


def import_clustering(
    document: Mapping[str, Any],
    pair_names: Sequence[str],
    features: Features | None = None,
    *,
    cluster_count: int | None = None,
) -> ClusteringResult:
    """An existing clustering `{cluster: [names]}`, or `{count: {cluster: [names]}}` with the `cluster_count` to take.

    Clusters are numbered in the order of their names (numbers by value). With `features` (n, d) the centroids are
    computed. Raises ClusteringMismatch naming unknown, missing and repeated pairs, and empty clusters.
    """
    clusters = _clusters_of(document, cluster_count)
    _check_names(clusters, pair_names)
    cluster_of = {name: number for number, members in enumerate(clusters.values()) for name in members}
    assignments = np.array([cluster_of[name] for name in pair_names], dtype=np.int64)
    return ClusteringResult(
        assignments=assignments,
        centroids=None if features is None else _centroids(features, assignments),
        sizes=_sizes(assignments),
        method="imported",
        requested_clusters=len(clusters),
    )


def _check_count(features: Features, cluster_count: int) -> None:
    if not np.isfinite(features).all():
        raise ValueError("features must be finite")
    different = _different_rows(features)
    if different == 1 < cluster_count and len(features) > 1:
        raise TooFewPairs(
            f"All {len(features)} pairs are equal, and {cluster_count} clusters were asked for.",
            hint="Use pairs that differ, or ask for one cluster (--k 1).",
            pairs=len(features),
            different_pairs=different,
        )
    if not 1 <= cluster_count <= different:
        raise TooFewPairs(
            f"{cluster_count} clusters were asked for, of {len(features)} pairs, {different} of them different.",
            hint=f"Ask for 1 to {different} clusters, or add pairs.",
            pairs=len(features),
            different_pairs=different,
        )


def _different_rows(features: Features) -> int:
    return len({row.tobytes() for row in features})


def _k_means(features: Features, cluster_count: int, seed: int, restarts: int) -> KMeans:
    return KMeans(cluster_count, random_state=seed, n_init=restarts, algorithm="lloyd").fit(features)


def _silhouette(features: Features, assignments: Assignments, cluster_count: int) -> dict[int, float]:
    if not 2 <= cluster_count < len(features):
        return {}
    return {cluster_count: float(silhouette_score(features, assignments))}


def _report(on_step: OnCount | None, done: int, total: int) -> None:
    if on_step is not None and on_step(done, total):
        raise Interrupted


def _centroids(features: Features, assignments: Assignments) -> Features:
    numbers = range(int(assignments.max()) + 1)
    means = [features[assignments == number].mean(axis=0, dtype=np.float64) for number in numbers]
    return np.stack(means).astype(np.float32)


def _sizes(assignments: Assignments) -> tuple[int, ...]:
    return tuple(int(size) for size in np.bincount(assignments))


def _merge_small(
    features: Features, assignments: Assignments, minimum_cluster_size: int
) -> tuple[Assignments, list[Merge]]:
    """Dissolve the smallest cluster into that with the nearest centroid until all are large enough or one is left."""
    merged, merges = assignments.copy(), []
    while len(numbers := np.unique(merged)) > 1:
        sizes = {int(number): int((merged == number).sum()) for number in numbers}
        smallest = min(sizes, key=lambda number: (sizes[number], number))
        if sizes[smallest] >= minimum_cluster_size:
            break
        into = _nearest(features, merged, smallest, [number for number in sizes if number != smallest])
        merges.append(Merge(smallest, sizes[smallest], into))
        merged[merged == smallest] = into
    return np.unique(merged, return_inverse=True)[1].astype(np.int64), merges


def _nearest(features: Features, assignments: Assignments, cluster_number: int, others: Iterable[int]) -> int:
    def centroid(number: int) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = features[assignments == number].mean(axis=0, dtype=np.float64)
        return mean

    own = centroid(cluster_number)
    return min(others, key=lambda other: (float(np.linalg.norm(centroid(other) - own)), other))


def _clusters_of(document: Mapping[str, Any], cluster_count: int | None) -> dict[str, list[str]]:
    chosen: Any = document
    if document and all(isinstance(value, Mapping) for value in document.values()):
        if str(cluster_count) not in document:
            held = ", ".join(sorted(document, key=_natural))
            raise ClusteringMismatch(
                f"The document holds clusterings for k = {held}, not {cluster_count}.",
                hint="Name one of them as the number of clusters.",
            )
        chosen = document[str(cluster_count)]
    if not chosen or not all(isinstance(members, list) and members for members in chosen.values()):
        raise ClusteringMismatch(
            "A clustering is a JSON object of cluster → non-empty list of pair names.",
            hint='For example {"0": ["a", "b"], "1": ["c"]}.',
        )
    return {str(name): [str(member) for member in chosen[name]] for name in sorted(chosen, key=_natural)}


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _check_names(clusters: Mapping[str, Sequence[str]], pair_names: Sequence[str]) -> None:
    counts = Counter(name for members in clusters.values() for name in members)
    wrong = {
        "unknown": sorted(counts.keys() - set(pair_names)),
        "missing": sorted(set(pair_names) - counts.keys()),
        "repeated": sorted(name for name, count in counts.items() if count > 1),
    }
    if any(wrong.values()):
        raise ClusteringMismatch(
            "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in wrong.items() if names) + ".",
            hint="Every pair of the dataset version belongs to exactly one cluster.",
            **{kind: names for kind, names in wrong.items() if names},
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
