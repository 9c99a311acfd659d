"""Drawn pairs: repeatable, varied, and their label can be read off their colours."""

import numpy as np

from segsmith_shared.pairs.drawn import draw_class_pair, draw_pair, recover_classes, recover_lesion


def test_the_label_of_every_drawn_pair_can_be_read_back_from_its_colours() -> None:
    for index in range(40):
        image, label = draw_pair(3, index, 48)
        recovered = recover_lesion(image)
        assert 2 * (recovered & label).sum() / (recovered.sum() + label.sum()) >= 0.95


def test_a_drawn_pair_depends_on_seed_and_index_only() -> None:
    image, label = draw_pair(5, 2, 32)
    draw_pair(5, 3, 32)
    again, label_again = draw_pair(5, 2, 32)
    assert (image == again).all()
    assert (label == label_again).all()
    assert (draw_pair(6, 2, 32)[0] != image).any()


def test_lesions_vary_in_size_and_place() -> None:
    labels = [draw_pair(0, index, 32)[1] for index in range(60)]
    areas = np.array([label.mean() for label in labels])
    columns = np.array([np.nonzero(label)[1].mean() for label in labels])
    assert areas.min() > 0.02
    assert areas.max() > 4 * areas.min()
    assert columns.std() > 3


def test_both_classes_of_a_drawn_pair_can_be_read_back_from_its_colours() -> None:
    seen = set()
    for index in range(40):
        image, label = draw_class_pair(3, index, 48)
        recovered = recover_classes(image)
        seen.add(tuple(np.unique(label)))
        for number in (1, 2):
            agreed = ((label == number) & (recovered == number)).sum()
            missed = ((label == number) ^ (recovered == number)).sum()
            assert 2 * agreed >= 0.85 * (2 * agreed + missed) or missed < 12
    assert seen == {(0, 1), (0, 2), (0, 1, 2)}
