"""Random crops: what a training sees of a pair when it does not see the whole."""

import numpy as np
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import TrainingSpec, preset_named
from segsmith_worker.diffusion.cropping import cropped
from tests.fixtures.class_pairs import both_classes

SIDE_PX = 48


def spec_of(share: float, side_low: float = 0.5) -> TrainingSpec:
    changed = {"training.crop_share": share, "training.crop_side_low": side_low}
    return preset_named("tiny-cpu").with_overrides(changed).training


def pair_of(index: int) -> Tensor:
    image, label = draw_pair(0, index, SIDE_PX)
    return torch.from_numpy(np.dstack([image, label * np.uint8(255)])).movedim(2, 0).contiguous()


def test_nothing_is_cropped_unless_asked_for() -> None:
    assert torch.equal(cropped(pair_of(0), spec_of(0.0), 1, 0), pair_of(0))


def test_a_crop_shows_some_of_the_lesion_larger_than_it_was_and_its_label_stays_a_label() -> None:
    for index in range(12):
        pair = pair_of(index)
        seen = cropped(pair, spec_of(1.0), 1, index)
        assert seen.shape == pair.shape
        assert not torch.equal(seen, pair)
        assert set(seen[3].flatten().tolist()) <= {0, 255}
        assert seen[3].any()


def test_a_crop_is_a_function_of_seed_and_position() -> None:
    pair, spec = pair_of(0), spec_of(1.0)
    assert torch.equal(cropped(pair, spec, 1, 5), cropped(pair, spec, 1, 5))
    assert not torch.equal(cropped(pair, spec, 1, 5), cropped(pair, spec, 1, 6))


def test_as_many_images_are_cropped_as_asked_for() -> None:
    pair, spec = pair_of(0), spec_of(0.3)
    share = np.mean([not torch.equal(cropped(pair, spec, 1, at), pair) for at in range(300)])
    assert 0.2 < share < 0.4


def test_a_picture_without_a_lesion_is_cropped_anywhere() -> None:
    empty = pair_of(0)
    empty[3] = 0
    seen = cropped(empty, spec_of(1.0), 1, 0)
    assert not torch.equal(seen, empty)
    assert not seen[3].any()


def test_every_pixel_of_a_crop_has_one_class_and_keeps_the_colour_of_it() -> None:
    pair, shown = both_classes(SIDE_PX)[0], torch.zeros(2, dtype=torch.bool)
    for position in range(20):
        seen = cropped(pair, spec_of(1.0), 1, position)
        first, second = seen[3:] == 255
        assert not (first & second).any()
        reddish = seen[0].int() - seen[2].int()
        assert (reddish[first] > 0).all()
        assert (reddish[second] < 0).all()
        shown |= torch.stack([first.any(), second.any()])
    assert shown.all()
