"""Labels of several classes as networks know them, and back."""

import torch

from segsmith_worker.diffusion.labels import class_maps_of, largest_class, lesions_of, planes_of
from tests.fixtures.class_pairs import both_classes


def test_a_class_is_read_off_where_its_channel_is_the_largest_and_beyond_half_way() -> None:
    first = torch.tensor([[-0.5, 0.2, 0.9, -1.0]])
    second = torch.tensor([[-0.1, 0.3, 0.1, 0.6]])
    assert largest_class(torch.stack([first, second])[None]).tolist() == [[[0, 2, 1, 2]]]


def test_one_channel_is_lesion_where_it_is_beyond_half_way() -> None:
    assert largest_class(torch.tensor([[[[-1.0, 0.0, 0.01, 3.0]]]])).tolist() == [[[0, 0, 1, 1]]]


def test_channels_become_class_maps_and_come_back_whole() -> None:
    pairs = both_classes()
    maps = class_maps_of(pairs)
    assert set(maps.flatten().tolist()) == {0, 1, 2}
    assert torch.equal(planes_of(maps, 2), pairs[:, 3:] == 255)
    assert torch.equal(lesions_of(pairs), maps > 0)
