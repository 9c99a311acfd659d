"""Every score under its own name: equal to smp's, and defined where nothing is and nothing is predicted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from segmentation_models_pytorch import metrics
from segmentation_models_pytorch.losses import DiceLoss

from segsmith_shared.pairs.pair import IGNORE
from segsmith_worker.segmentation import scores

Probabilities = NDArray[np.float32]
Labels = NDArray[np.bool_]


def score(probabilities: Probabilities, labels: Labels) -> scores.Scores:
    """Of one class: probabilities and labels (n, H, W)."""
    return scores.score(probabilities[:, None], labels.astype(np.uint8))


def drawn(seed: int, images: int = 5) -> tuple[Probabilities, Labels]:
    rng = np.random.default_rng(seed)
    labels = rng.random((images, 12, 10)) < rng.random((images, 1, 1))
    probabilities = np.clip(labels * 0.6 + rng.random(labels.shape) * 0.5, 0, 1).astype(np.float32)
    return probabilities, labels


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_hard_scores_equal_those_of_segmentation_models_pytorch(seed: int) -> None:
    probabilities, labels = drawn(seed)
    counts = metrics.get_stats(
        torch.from_numpy(probabilities), torch.from_numpy(labels).long(), mode="binary", threshold=0.5
    )
    ours = score(probabilities, labels)
    for ours_value, theirs, reduction in (
        (ours.dice, metrics.f1_score, "micro-imagewise"),
        (ours.iou, metrics.iou_score, "micro-imagewise"),
        (ours.dice_dataset, metrics.f1_score, "micro"),
        (ours.iou_dataset, metrics.iou_score, "micro"),
    ):
        assert ours_value == pytest.approx(theirs(*counts, reduction=reduction, zero_division=1).item(), abs=1e-6)


def test_the_papers_soft_score_is_the_soft_dice_of_each_image() -> None:
    probabilities, labels = drawn(1, images=3)
    # smp adds its `smooth` to the overlap and to the mean of the areas, and gives one value per call
    loss = DiceLoss(mode="binary", from_logits=False, smooth=0.5)
    theirs = [
        1 - loss(torch.from_numpy(p)[None, None], torch.from_numpy(g).float()[None, None]).item()
        for p, g in zip(probabilities, labels, strict=True)
    ]
    assert scores.dice_soft_paper(probabilities, labels) == pytest.approx(np.mean(theirs), abs=1e-6)


def test_nothing_predicted_where_nothing_is_counts_as_perfect() -> None:
    empty = np.zeros((1, 4, 4), dtype=np.float32)
    figures = score(empty, empty.astype(bool)).figures()
    assert {figures[name] for name in ("dice", "iou", "dice_dataset", "iou_dataset", "dice_soft_paper")} == {1.0}
    assert (figures["negatives"], figures["false_positives"]) == (1, 0)


def test_a_prediction_where_nothing_is_counts_as_nothing() -> None:
    full = np.ones((1, 4, 4), dtype=np.float32)
    result = score(full, np.zeros((1, 4, 4), dtype=bool))
    assert result.dice == result.iou == result.dice_dataset == 0


def test_pictures_without_a_lesion_are_counted_with_their_false_positives_beside_the_scores_of_the_others() -> None:
    labels = np.zeros((4, 6, 6), dtype=bool)
    labels[0, :3] = True  # found by half
    predictions = np.zeros((4, 6, 6), dtype=np.float32)
    predictions[0, :3, :3] = 1
    predictions[1, 0, 0] = 1  # one false positive among three
    figures = score(predictions, labels).figures()
    assert figures["negatives"] == 3
    assert figures["false_positives"] == pytest.approx(1 / 3)
    assert figures["iou_lesion"] == pytest.approx(1 / 2)
    assert figures["dice_lesion"] == pytest.approx(2 / 3)
    assert figures["iou"] == pytest.approx((1 / 2 + 0 + 1 + 1) / 4)


def test_a_test_set_without_any_lesion_has_no_score_of_lesions() -> None:
    figures = score(np.zeros((3, 4, 4), dtype=np.float32), np.zeros((3, 4, 4), dtype=bool)).figures()
    assert (figures["negatives"], figures["false_positives"], figures["dice"]) == (3, 0, 1)
    assert not {"dice_lesion", "iou_lesion"} & figures.keys()


def test_a_test_set_of_lesions_alone_has_no_word_on_negatives() -> None:
    assert "negatives" not in score(np.ones((2, 4, 4), dtype=np.float32), np.ones((2, 4, 4), dtype=bool)).figures()


def test_unknown_pixels_count_for_neither_side() -> None:
    labels = np.zeros((1, 6, 6), np.uint8)
    labels[0, :2], labels[0, 4:] = 1, IGNORE
    predicted = np.zeros((1, 1, 6, 6), np.float32)
    predicted[0, 0, :2], predicted[0, 0, 4:] = 1, 0.9  # right where it is known, and something where it is not
    result = scores.score(predicted, labels)
    assert result.iou == result.dice == result.dice_dataset == 1
    assert result.dice_soft_paper == 1
    assert scores.mean_iou(scores.where_known(scores.class_maps(predicted), labels), labels, 1) == 1


def test_a_picture_whose_label_is_all_unknown_but_background_is_a_negative() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, :2] = IGNORE
    figures = scores.score(np.ones((1, 1, 4, 4), np.float32), labels).figures()
    assert (figures["negatives"], figures["false_positives"]) == (1, 1)


def test_a_lesion_that_vanished_at_the_scored_side_is_counted_and_flatters_no_score() -> None:
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, 0] = 1
    nothing = np.zeros((3, 1, 4, 4), np.float32)
    figures = scores.score(nothing, labels, had_lesion=np.array([True, True, False])).figures()
    assert figures["vanished"] == 1
    assert figures["negatives"] == 1
    assert figures["iou"] == pytest.approx(1 / 2)  # a lesion missed and a true negative; the vanished one is left out
    with pytest.raises(scores.NothingToScore, match="4 × 4 px"):
        scores.score(nothing[1:2], labels[1:2], had_lesion=np.array([True]))


def test_the_mean_over_images_and_the_pooled_score_differ_where_lesions_do() -> None:
    labels = np.zeros((2, 10, 10), dtype=bool)
    labels[0], labels[1, 0, 0] = True, True
    predictions = labels.copy()
    predictions[1] = False
    assert scores.dice(predictions, labels) == 0.5
    assert scores.dice_dataset(predictions, labels) == pytest.approx(200 / 201)
    assert score(predictions.astype(np.float32), labels).per_image_dice.tolist() == [1, 0]


def test_the_papers_iou_can_exceed_its_soft_dice() -> None:
    """Why the published table shows it: an unsure but correct model has full IoU and a soft score below it."""
    labels = np.zeros((1, 20, 20), dtype=bool)
    labels[0, :10] = True
    probabilities = np.where(labels, 0.6, 0.3).astype(np.float32)
    result = score(probabilities, labels)
    assert result.iou == 1
    assert result.dice_soft_paper < 0.7


def planted(*maps: list[list[int]]) -> tuple[Probabilities, NDArray[np.uint8]]:
    """Class maps (n, H, W), and probabilities of three classes that a model sure of them would give."""
    labels = np.array(maps, np.uint8)
    return np.stack([labels == number for number in (1, 2, 3)], axis=1).astype(np.float32), labels


def test_every_class_is_scored_on_the_images_that_hold_it_or_are_predicted_to() -> None:
    _, labels = planted([[1, 1, 0, 2]], [[0, 0, 0, 2]], [[0, 0, 0, 0]])
    probabilities, _ = planted([[1, 0, 0, 2]], [[0, 0, 1, 2]], [[0, 0, 0, 0]])
    figures = scores.score(probabilities, labels, ["polyp", "instrument", "scar"]).figures()
    assert figures["dice[polyp]"] == pytest.approx((2 / 3 + 0) / 2)  # the second is predicted where there is none
    assert figures["iou[polyp]"] == pytest.approx((1 / 2 + 0) / 2)
    assert figures["dice[instrument]"] == figures["iou[instrument]"] == 1
    assert "dice[scar]" not in figures  # nowhere shown: nothing to score
    assert figures["dice"] == pytest.approx((1 / 3 + 1) / 2)
    assert figures["iou"] == pytest.approx((1 / 4 + 1) / 2)
    assert figures["dice_dataset"] == pytest.approx((2 * 1 / 4 + 1) / 2)


def test_an_image_has_the_mean_over_its_own_classes_and_one_without_any_is_perfect() -> None:
    _, labels = planted([[1, 1, 0, 2]], [[0, 0, 0, 2]], [[0, 0, 0, 0]])
    probabilities, predictions = planted([[1, 0, 0, 2]], [[0, 0, 1, 2]], [[0, 0, 0, 0]])
    result = scores.score(probabilities, labels, ["polyp", "instrument", "scar"])
    assert result.per_image_dice.tolist() == pytest.approx([(2 / 3 + 1) / 2, 1 / 2, 1])
    assert scores.mean_iou(predictions, labels, 3) == result.iou


def test_the_likeliest_class_is_predicted_and_background_where_that_is_likelier() -> None:
    pixels = [(0.5, 0.1, 0.1), (0.3, 0.4, 0.2), (0.2, 0.2, 0.1), (0.1, 0.1, 0.45)]
    probabilities = np.array(pixels, np.float32).T.reshape(1, 3, 1, 4)
    assert scores.class_maps(probabilities).tolist() == [[[1, 2, 0, 3]]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_one_class_is_predicted_from_a_probability_of_one_half_on(seed: int) -> None:
    probabilities, _ = drawn(seed)
    assert np.array_equal(scores.class_maps(probabilities[:, None]), probabilities >= 0.5)
