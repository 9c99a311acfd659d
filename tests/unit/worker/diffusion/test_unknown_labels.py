"""Where a label says nothing, nothing is learned, and nothing is said of a sample either."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.batches import DrawnBatch, TrainingPairs
from segsmith_worker.diffusion.cropping import cropped
from segsmith_worker.diffusion.labels import channels_of, class_maps_of, lesions_of, unknown_of
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.schedule import linear_schedule
from segsmith_worker.diffusion.training import TrainingState, batch_losses, train
from segsmith_worker.inpainting.redraw import redraw
from tests.fixtures.smallest_network import NETWORK

AWARE = preset_named("tiny-cpu").with_overrides(
    {"network": NETWORK, "training": {"images_total": 64, "batch": 4, "micro_batch": 4}, "sampling.evaluations": 4}
)
PAPER = preset_named("paper-256-2023").with_overrides(
    {"network": NETWORK, "training": {"images_total": 8, "batch": 4, "micro_batch": 4}}
)
BALANCED = AWARE.with_overrides({"training.lesion_balance": 0.5})
OVER_PICTURE = AWARE.with_overrides({"training.loss_over": "picture", "training.loss_weight": "root_snr"})


def pairs_with_unknown(count: int = 6) -> Tensor:
    """Drawn pairs of which the upper left corner of the label is unknown."""
    drawn = [draw_pair(4, index, NETWORK["side_px"]) for index in range(count)]
    squares = np.stack([np.dstack([image, label * np.uint8(255)]).transpose(2, 0, 1) for image, label in drawn])
    squares[:, 3, :10, :10] = IGNORE_LEVEL
    return torch.from_numpy(squares)


def test_unknown_pixels_are_neither_lesion_nor_background_and_stay_unknown() -> None:
    pairs = pairs_with_unknown()
    maps = class_maps_of(pairs)
    assert (maps[:, :10, :10] == IGNORE).all()
    assert not lesions_of(pairs)[:, :10, :10].any()
    assert torch.equal(maps == IGNORE, unknown_of(pairs))
    channels = channels_of(maps, 1)
    assert (channels[:, :, :10, :10] == 0).all()
    assert set(channels[:, 0][~unknown_of(pairs)].tolist()) == {-1.0, 1.0}


def test_a_crop_keeps_what_is_unknown_and_makes_nothing_else_so() -> None:
    spec = AWARE.with_overrides({"training.crop_share": 1.0}).training
    for position in range(20):
        seen = cropped(pairs_with_unknown(1)[0], spec, 0, position)
        assert set(seen[3].flatten().tolist()) <= {0, 255, IGNORE_LEVEL}
    whole = pairs_with_unknown(1)[0]
    whole[3] = 0
    assert not unknown_of(torch.stack([cropped(whole, spec, 0, position) for position in range(20)])).any()


@pytest.mark.parametrize(
    "preset", [AWARE, PAPER, BALANCED, OVER_PICTURE], ids=["aware", "paper", "balanced", "picture"]
)
def test_what_a_network_says_of_unknown_pixels_costs_nothing_and_of_their_colour_as_much_as_ever(
    preset: Preset,
) -> None:
    source = TrainingPairs(pairs_with_unknown(), preset.training, seed=1)
    batch = source.draw(range(6))
    assert batch.unknown is not None
    corner = batch.unknown[:, 0]
    # the corner is drawn in every picture, so that only its being unknown can leave it out
    region = None if batch.region is None else torch.ones_like(batch.region)
    batch = replace(batch, region=region)
    schedule = None if preset.diffusion.schedule == "cosine" else linear_schedule(preset.diffusion.timesteps)
    outputs = 8 if preset.diffusion.learned_range else 4

    def losses(channel: int, mistaken: bool, of: DrawnBatch = batch) -> Tensor:
        def network(x: Tensor, *_: object) -> Tensor:
            said = torch.zeros(len(x), outputs, *x.shape[2:])
            said[:, channel] = 7.0 * mistaken * corner
            return said

        return batch_losses(network, of, preset, schedule)

    assert torch.equal(losses(3, mistaken=True), losses(3, mistaken=False))
    assert (losses(0, mistaken=True) > losses(0, mistaken=False)).all()
    known = replace(batch, unknown=None)
    assert (losses(3, mistaken=True, of=known) > losses(3, mistaken=False, of=known)).all()


def test_labels_that_are_known_everywhere_are_trained_on_as_if_there_were_no_unknown_ones() -> None:
    pairs = pairs_with_unknown()
    pairs[:, 3, :10, :10] = 0
    assert TrainingPairs(pairs, AWARE.training, seed=1).draw(range(6)).unknown is None


def test_a_sample_says_nothing_where_its_source_says_nothing_outside_of_the_redrawn_region() -> None:
    pairs = pairs_with_unknown(4)
    state = train(TrainingState.start(AWARE, 1), pairs, AWARE, seed=1, until_images_seen=64)
    model = DiffusionModel.from_tensors(AWARE, state.to_tensors())
    result = redraw(model, pairs, [0, 1, 2, 3], AWARE.sampling)
    kept = ~result.redraw_regions
    assert (result.labels[kept & unknown_of(pairs)] == IGNORE).all()
    assert not (result.labels[result.redraw_regions] == IGNORE).any()
