"""Redrawing pairs whose labels tell classes apart: which class is where is learned, given, kept, and read off."""

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset, SamplingSpec, preset_named
from segsmith_worker.diffusion.labels import class_maps_of
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import TrainingState, train
from segsmith_worker.inpainting.redraw import RejectionReason, redraw
from tests.fixtures.class_pairs import both_classes, class_pairs
from tests.fixtures.smallest_network import NETWORK as SMALLEST

NETWORK = SMALLEST | {"classes": 2}
AWARE = preset_named("tiny-cpu").with_overrides(
    {
        "network": NETWORK,
        "training": {
            "images_total": 800,
            "learning_rate": 4e-3,
            "label_given_share": 0.2,
            "region_background_share": 0.1,
            "lesion_balance": 0.3,
            "crop_share": 0.1,
        },
        "sampling": {"batch": 16, "evaluations": 8},
    }
)
PAPER = preset_named("paper-256-2023").with_overrides(
    {
        "network": NETWORK,
        "training": {"batch": 4, "micro_batch": 2, "images_total": 40, "learning_rate": 2e-3},
        "sampling": {"batch": 4, "respaced_steps": 8, "jump_length": 3, "jump_visits": 2},
    }
)
SOURCES = class_pairs(16, seed=9)
SEEDS = list(range(16))


def trained(preset: Preset) -> DiffusionModel:
    state = TrainingState.start(preset, 3)
    train(state, class_pairs(24), preset, seed=3, until_images_seen=preset.training.images_total)
    return DiffusionModel.from_tensors(preset, state.to_tensors())


@pytest.fixture(scope="module")
def aware() -> DiffusionModel:
    return trained(AWARE)


@pytest.fixture(scope="module")
def paper() -> DiffusionModel:
    return trained(PAPER)


@pytest.fixture(params=["aware", "paper"])
def model(request: pytest.FixtureRequest) -> DiffusionModel:
    chosen: DiffusionModel = request.getfixturevalue(request.param)
    return chosen


def spec_of(model: DiffusionModel, **changed: object) -> SamplingSpec:
    return model.preset.with_overrides({"sampling": changed}).sampling


def test_a_short_training_learns_which_colour_is_of_which_class(aware: DiffusionModel) -> None:
    result = redraw(aware, SOURCES, SEEDS, spec_of(aware))
    reddish = result.images[:, 0] > result.images[:, 2]
    first, second = result.labels == 1, result.labels == 2
    assert first.sum() > 50
    assert second.sum() > 50
    assert reddish[first].float().mean() > 0.7
    assert (~reddish)[second].float().mean() > 0.7


@pytest.mark.parametrize("source", ["own", "exchanged"])
def test_a_given_class_map_is_kept_exactly_and_drawn_to(model: DiffusionModel, source: str) -> None:
    others = class_maps_of(SOURCES).roll(1, dims=0)  # of the other class, elsewhere
    result = redraw(
        model, SOURCES, SEEDS, spec_of(model, label=source), labels=others if source == "exchanged" else None
    )
    assert result.labels.dtype == torch.uint8
    assert torch.equal(result.labels, others if source == "exchanged" else class_maps_of(SOURCES))
    assert all(result.accepted)


def test_pictures_are_drawn_to_the_class_of_the_label_that_is_given(aware: DiffusionModel) -> None:
    disc = class_maps_of(SOURCES) > 0
    drawn = [
        redraw(aware, SOURCES, SEEDS, spec_of(aware, label="exchanged"), labels=disc * torch.tensor(number).byte())
        for number in (1, 2)
    ]
    warmth = [(each.images[:, 0].float() - each.images[:, 2].float())[disc].mean() for each in drawn]
    assert warmth[0] > warmth[1] + 60


def test_what_lies_outside_the_region_keeps_its_class(model: DiffusionModel) -> None:
    pair = both_classes().expand(4, -1, -1, -1).clone()
    result = redraw(model, pair, [1, 2, 3, 4], spec_of(model, dilation_px=0))
    outside = ~result.redraw_regions
    assert torch.equal(result.labels[outside], class_maps_of(pair)[outside])
    assert torch.equal(result.redraw_regions, class_maps_of(pair) > 0)


def test_a_redrawn_background_leaves_both_lesions_and_their_classes(aware: DiffusionModel) -> None:
    pair = both_classes()
    result = redraw(aware, pair, [1], spec_of(aware, redraw="background"))
    lesions = class_maps_of(pair) > 0
    assert torch.equal(result.labels[lesions], class_maps_of(pair)[lesions])
    assert torch.equal(result.images[lesions[:, None].expand(-1, 3, -1, -1)], pair[:, :3][:, :, lesions[0]].flatten())


def test_the_core_of_a_lesion_stays_of_its_class(paper: DiffusionModel) -> None:
    result = redraw(paper, SOURCES, SEEDS, spec_of(paper, label_core=0.5, opening_px=0))
    middle = torch.stack([maps.flatten().argmax() for maps in _depths(SOURCES)])
    own = class_maps_of(SOURCES).flatten(1).gather(1, middle[:, None])
    assert torch.equal(result.labels.flatten(1).gather(1, middle[:, None]), own)
    free = redraw(paper, SOURCES, SEEDS, spec_of(paper, opening_px=0))
    assert not torch.equal(free.labels.flatten(1).gather(1, middle[:, None]), own)


def _depths(pairs: Tensor) -> Tensor:
    """How many of a pixel's surroundings are lesion: largest in the middle of a disc."""
    lesions = (class_maps_of(pairs) > 0).float()[:, None]
    return torch.nn.functional.avg_pool2d(lesions, 7, stride=1, padding=3)[:, 0]


def test_a_class_that_the_network_does_not_know_is_no_label_to_draw_to(aware: DiffusionModel) -> None:
    with pytest.raises(ValueError, match="class maps"):
        redraw(aware, SOURCES, SEEDS, spec_of(aware, label="exchanged"), labels=class_maps_of(SOURCES) + 1)


def test_a_pair_is_rejected_only_where_no_class_is_left(paper: DiffusionModel) -> None:
    empty = SOURCES[:2].clone()
    empty[0, 3:] = 0
    result = redraw(paper, empty, SEEDS[:2], spec_of(paper))
    assert result.rejection_reasons[0] == RejectionReason.NOTHING_TO_REDRAW


def test_sampling_classes_is_bit_equal_in_any_company(model: DiffusionModel) -> None:
    together = redraw(model, SOURCES[:4], SEEDS[:4], spec_of(model, batch=4))
    order = [2, 0, 3, 1]
    shuffled = redraw(model, SOURCES[order], order, spec_of(model, batch=4))
    assert torch.equal(together.labels[order], shuffled.labels)
    assert torch.equal(together.mask_channels[order], shuffled.mask_channels)
    assert together.mask_channels.shape == (4, 2, 16, 16)
