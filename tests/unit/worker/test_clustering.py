"""Clusters repeat, are never too small unseen, and an imported clustering fits the dataset or says how it does not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import PooledImages, TrainingOrder
from segsmith_shared.vision.features import BuiltInExtractor, Interrupted
from segsmith_worker.clustering import (
    ClusteringMismatch,
    Merge,
    TooFewPairs,
    cluster,
    import_clustering,
    pair_features,
    with_others,
)
from segsmith_worker.steps.cluster import preset_of_order

Features = NDArray[np.float32]
REAL_DATA = Path(os.environ.get("SEGSMITH_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))


def blobs(*sizes: int, seed: int = 0) -> tuple[Features, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return (10 * np.eye(8)[groups] + rng.normal(size=(len(groups), 8))).astype(np.float32), groups


def test_k_means_finds_the_groups_that_are_there() -> None:
    features, groups = blobs(20, 12, 30)
    result = cluster(features, 3)
    assert adjusted_rand_score(groups, result.assignments) == 1
    assert sorted(result.sizes) == [12, 20, 30]
    assert result.centroids is not None
    np.testing.assert_allclose(
        result.centroids[result.assignments[0]], features[groups == 0].mean(axis=0), rtol=1e-4, atol=1e-5
    )


def test_the_silhouette_is_highest_at_the_true_number_of_groups() -> None:
    features, _ = blobs(20, 20, 20, 20)
    silhouettes = cluster(features, 2, silhouette_counts=range(1, 9)).silhouettes
    assert set(silhouettes) == set(range(2, 9))
    assert max(silhouettes, key=lambda count: silhouettes[count]) == 4


@pytest.mark.slow
def test_another_number_of_threads_gives_the_same_clusters() -> None:
    program = """
import sys, numpy as np
from segsmith_worker.clustering import cluster
rng = np.random.default_rng(1)
features = rng.normal(size=(300, 512)).astype(np.float32)
result = cluster(features, 7, restarts=3)
sys.stdout.write(result.assignments.tobytes().hex() + result.centroids.tobytes().hex())
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for threads in ("1", "2")
    ]
    assert outputs[0] == outputs[1]


def test_a_small_cluster_joins_the_nearest_and_the_report_says_so() -> None:
    features = np.concatenate([np.zeros(10), np.full(10, 100.0), np.full(2, 90.0)])[:, None].astype(np.float32)
    features += np.random.default_rng(0).normal(size=features.shape, scale=0.1).astype(np.float32)
    unmerged = cluster(features, 3, minimum_cluster_size=1)
    merged = cluster(features, 3, minimum_cluster_size=4)
    assert sorted(unmerged.sizes) == [2, 10, 10]
    assert sorted(merged.sizes) == [10, 12]
    assert merged.assignments[20] == merged.assignments[10] != merged.assignments[0]
    assert merged.merges == (Merge(int(unmerged.assignments[20]), 2, int(unmerged.assignments[10])),)
    assert merged.report()["merges"][0]["size"] == 2


def test_small_clusters_chain_until_all_are_large_enough() -> None:
    features = np.array([0, 1, 2, 100, 101, 102, 103], dtype=np.float32)[:, None]
    result = cluster(features, 7, minimum_cluster_size=3)
    assert sorted(result.sizes) == [3, 4]
    assert set(result.assignments) == {0, 1}


@pytest.mark.parametrize("count", [0, 6])
def test_more_clusters_than_pairs_is_a_problem_that_says_how_many_are_possible(count: int) -> None:
    with pytest.raises(TooFewPairs, match="5 pairs") as caught:
        cluster(blobs(5)[0], count)
    assert "1 to 5" in caught.value.hint


def test_repeated_pairs_do_not_count_as_different_ones() -> None:
    with pytest.raises(TooFewPairs, match="2 of them different"):
        cluster(np.repeat(np.eye(2, dtype=np.float32), 4, axis=0), 3)


def test_pairs_that_are_all_equal_are_said_to_be() -> None:
    with pytest.raises(TooFewPairs, match="All 3 pairs are equal, and 3 clusters"):
        cluster(np.ones((3, 2), np.float32), 3)
    assert cluster(np.ones((3, 2), np.float32), 1).sizes == (3,)


def test_features_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        cluster(np.full((4, 2), np.nan, dtype=np.float32), 2)


def test_pair_features_hold_the_image_and_the_label() -> None:
    pairs = [draw_pair(0, index, 32) for index in range(3)]
    images, labels = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    extractor = BuiltInExtractor()
    progress: list[tuple[int, int]] = []
    features = pair_features(images, labels, extractor, lambda done, total: progress.append((done, total)))
    assert features.shape == (3, 2 * extractor.dimension)
    assert np.array_equal(features[:, : extractor.dimension], extractor.features(images))
    moved = pair_features(images, np.roll(labels, 5, axis=2), extractor)
    assert np.array_equal(moved[:, : extractor.dimension], features[:, : extractor.dimension])
    assert not np.array_equal(moved, features)
    assert progress == [(3, 6), (6, 6)]


def test_a_caller_can_stop_between_k_means_runs() -> None:
    with pytest.raises(Interrupted):
        cluster(blobs(20, 20)[0], 2, silhouette_counts=[3, 4], on_step=lambda done, _: done == 2)


def test_an_imported_clustering_keeps_its_groups_and_order() -> None:
    features, _ = blobs(2, 3)
    result = import_clustering({"10": ["c", "d", "e"], "9": ["a", "b"]}, list("abcde"), features)
    assert result.assignments.tolist() == [0, 0, 1, 1, 1]
    assert result.sizes == (2, 3)
    assert result.centroids is not None
    np.testing.assert_allclose(result.centroids[1], features[2:].mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"0": ["a", "x"], "1": ["b"]}, "1 unknown: x"),
        ({"0": ["a"]}, "1 missing: b"),
        ({"0": ["a", "b"], "1": ["b"]}, "1 repeated: b"),
        ({"0": ["a", "b"], "1": []}, "non-empty list"),
        ({"0": "ab"}, "non-empty list"),
        ({}, "non-empty list"),
        ({"4": {"0": ["a", "b"]}}, "k = 4"),
    ],
)
def test_a_clustering_that_does_not_fit_names_what_is_wrong(document: dict[str, Any], named: str) -> None:
    with pytest.raises(ClusteringMismatch, match=named):
        import_clustering(document, ["a", "b"])


@pytest.mark.real_data
def test_the_published_clusterings_are_read_with_their_published_sizes() -> None:
    folder = REAL_DATA / "kvasir-seg"
    if not folder.is_dir():
        pytest.skip(f"the real polyps are not in {folder}")
    document = json.loads((folder / "published-clusters.json").read_text())
    names = (folder / "paper-348.txt").read_text().split()
    result = import_clustering(document, names, cluster_count=20)
    assert sorted(result.sizes) == [3, 5, 9, 10, 10, 10, 12, 12, 13, 15, 15, 16, 16, 19, 24, 24, 26, 30, 37, 42]


def test_pictures_without_a_lesion_join_the_nearest_cluster_and_move_no_centroid() -> None:
    features, groups = blobs(20, 12, 30)
    clustered = np.ones(62, dtype=np.bool_)
    clustered[[0, 25, 61]] = False
    found = cluster(features[clustered], 3)
    whole = with_others(found, features, clustered)
    assert adjusted_rand_score(groups, whole.assignments) == 1
    assert sorted(whole.sizes) == [12, 20, 30]
    assert found.centroids is not None
    assert whole.centroids is found.centroids
    assert (whole.assignments[clustered] == found.assignments).all()


@pytest.mark.parametrize(
    ("each", "shared", "clusters", "wanted"), [(100, 0, 3, 300), (100, 900, 2, 1100), (0, 200, 7, 200)]
)
def test_one_network_sees_what_those_of_the_clusters_that_were_found_would_see(
    each: int, shared: int, clusters: int, wanted: int
) -> None:
    preset = preset_named("small-64").model_dump(mode="json")
    order = TrainingOrder(
        recipe="Full", preset=preset, needed_by=(), together=True, pooled=PooledImages(each=each, shared=shared)
    )
    training = preset_of_order(order, clusters)["training"]
    assert (training["images_total"], training["warm_start_images"]) == (wanted, 0)
    given = order.model_copy(update={"pooled": None})
    assert preset_of_order(given, clusters) == preset
