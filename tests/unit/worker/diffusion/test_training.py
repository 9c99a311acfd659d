"""Training: a cut run is the uncut run, bit by bit; counts are honest; divergence is named."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset, PresetOverrideRejected
from segsmith_worker.diffusion.batches import DrawnBatch, TrainingPairs, index_at
from segsmith_worker.diffusion.ema import decay_at
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.schedule import cosine_log_snr
from segsmith_worker.diffusion.training import (
    NonFiniteLoss,
    NoTrainingPairs,
    StepReport,
    TrainingState,
    batch_losses,
    learning_rate_at,
    train,
)
from tests.fixtures.class_pairs import class_pairs
from tests.fixtures.small_trainings import AWARE, PAPER, assert_same


@pytest.mark.parametrize("preset", [AWARE, PAPER], ids=["aware", "paper"])
def test_a_training_cut_at_any_step_and_resumed_equals_the_uncut_one(preset: Preset, pairs: Tensor) -> None:
    batch = preset.training.batch
    uncut = train(TrainingState.start(preset, 7), pairs, preset, seed=7, until_images_seen=8 * batch).to_tensors()
    for steps in (1, 3, 6):
        cut = train(TrainingState.start(preset, 7), pairs, preset, seed=7, until_images_seen=steps * batch)
        resumed = TrainingState.from_tensors(preset, cut.to_tensors())
        assert_same(train(resumed, pairs, preset, seed=7, until_images_seen=8 * batch).to_tensors(), uncut)


def test_a_training_cut_before_its_first_step_starts_anew(pairs: Tensor) -> None:
    fresh = TrainingState.start(AWARE, 7)
    again = TrainingState.from_tensors(AWARE, fresh.to_tensors())
    assert_same(again.to_tensors(), fresh.to_tensors())
    trained = [train(state, pairs, AWARE, seed=7, until_images_seen=6).to_tensors() for state in (fresh, again)]
    assert_same(*trained)


def test_the_callback_stops_the_training_with_the_state_whole(pairs: Tensor) -> None:
    state = TrainingState.start(AWARE, 7)
    train(state, pairs, AWARE, seed=7, until_images_seen=300, on_step=lambda report: report.step == 2)
    assert (state.step, state.images_seen) == (2, 6)
    assert_same(
        state.to_tensors(),
        train(TrainingState.start(AWARE, 7), pairs, AWARE, seed=7, until_images_seen=6).to_tensors(),
    )


def test_a_batch_larger_than_the_cluster_goes_round_it_and_is_counted_in_full(pairs: Tensor) -> None:
    large = AWARE.with_overrides({"training.batch": 12, "training.micro_batch": 4})
    state = train(TrainingState.start(large, 7), pairs[:5], large, seed=7, until_images_seen=12)
    assert (state.step, state.images_seen) == (1, 12)


def test_training_learns(pairs: Tensor) -> None:
    """The same 64 images under the same noise, before and after 100 steps."""
    ruler = AWARE.with_overrides({"training.batch": 64, "training.micro_batch": 64})

    def loss_of(state: TrainingState) -> float:
        reports: list[StepReport] = []
        state.images_seen = 10_000
        train(state, pairs, ruler, seed=1, until_images_seen=10_001, on_step=reports.append)
        return reports[0].loss

    trained = train(TrainingState.start(AWARE, 7), pairs, AWARE, seed=7, until_images_seen=300)
    assert loss_of(trained) < 0.8 * loss_of(TrainingState.start(AWARE, 7))


def test_micro_batches_of_unequal_size_add_up_to_the_whole_batch(pairs: Tensor) -> None:
    gradients = []
    for micro_batch in (4, 3):
        preset = AWARE.with_overrides({"training.batch": 4, "training.micro_batch": micro_batch})
        state = TrainingState.start(preset, 7)
        train(state, pairs, preset, seed=7, until_images_seen=4)
        gradient = state.network.get_parameter("out.2.weight").grad
        assert gradient is not None
        gradients.append(gradient.clone())
    assert gradients[0].abs().max() > 1e-3
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_every_round_shows_each_pair_once_in_a_new_order() -> None:
    rounds = [[index_at(3, 5 * lap + place, 5) for place in range(5)] for lap in range(10)]
    assert all(sorted(seen) == [0, 1, 2, 3, 4] for seen in rounds)
    assert len({tuple(seen) for seen in rounds}) > 5


def test_a_diverging_training_stops_with_a_clear_error(pairs: Tensor) -> None:
    state = TrainingState.start(AWARE, 7)
    with torch.no_grad():
        state.network.get_parameter("out.2.bias").fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="Step 1") as caught:
        train(state, pairs, AWARE, seed=7, until_images_seen=30)
    assert "learning rate" in caught.value.hint
    assert state.step == 0


def test_nothing_to_train_on_is_said_so(pairs: Tensor) -> None:
    with pytest.raises(NoTrainingPairs):
        train(TrainingState.start(AWARE, 7), pairs[:0], AWARE, seed=7, until_images_seen=30)


def test_pairs_of_another_side_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        wrong = torch.zeros(2, 4, 32, 32, dtype=torch.uint8)
        train(TrainingState.start(AWARE, 7), wrong, AWARE, seed=7, until_images_seen=30)


def test_the_moving_average_warms_up_instead_of_holding_its_random_start() -> None:
    assert decay_at(0, 0.9999, warm_up=True) == 0.1
    assert decay_at(10**6, 0.9999, warm_up=True) == 0.9999
    assert np.prod([decay_at(step, 0.9999, warm_up=True) for step in range(3600)]) < 1e-6
    assert np.prod([decay_at(step, 0.9999, warm_up=False) for step in range(3600)]) > 0.69


def test_the_average_follows_the_weights(pairs: Tensor) -> None:
    state = train(TrainingState.start(AWARE, 7), pairs, AWARE, seed=7, until_images_seen=60)
    raw, average = state.network.get_parameter("out.2.weight"), state.average.get_parameter("out.2.weight")
    assert not torch.equal(raw, average)
    assert torch.nn.functional.cosine_similarity(raw.flatten(), average.flatten(), dim=0) > 0.7


def test_the_learning_rate_falls_for_the_last_part() -> None:
    spec = AWARE.training.model_copy(update={"late_share": 0.25, "late_learning_rate_factor": 0.1, "images_total": 80})
    assert learning_rate_at(spec, 59) == spec.learning_rate
    assert learning_rate_at(spec, 60) == pytest.approx(0.1 * spec.learning_rate)


def test_an_aware_training_can_start_from_a_four_channel_one(pairs: Tensor) -> None:
    plain = AWARE.with_overrides({"training.inpainting_aware": False, "sampling.sampler": "blended"})
    weights = TrainingState.start(plain, 1).network.state_dict()
    weights["out.2.weight"] = torch.ones_like(weights["out.2.weight"])
    warm = TrainingState.start(AWARE, 2, warm_start=weights)
    x = torch.rand(1, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    model = DiffusionModel.from_tensors(plain, weights)
    assert torch.allclose(warm.network.eval()(x, torch.ones(1)), model.network(x[:, :4], torch.ones(1)), atol=1e-5)


def test_a_network_that_is_told_the_cluster_learns_what_each_looks_like() -> None:
    """Two clusters of one picture each, black and white, under so much noise that only the cluster tells them apart."""
    pairs = torch.zeros(2, 4, 16, 16, dtype=torch.uint8)
    pairs[1, :3] = 255
    preset = AWARE.with_overrides(
        {
            "training": {"inpainting_aware": False, "cluster_dropout": 0.2},
            "sampling.sampler": "blended",
            "diffusion.log_snr_shift": -6.0,
        }
    )
    state = TrainingState.start(preset, 1, clusters=2)
    train(state, pairs, preset, seed=1, until_images_seen=300, clusters=[0, 1])
    model = DiffusionModel.from_tensors(preset, state.to_tensors())
    x_t = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    late = torch.full((2,), 999.0)

    def brightness(clusters: list[int], guidance: float = 1.0) -> list[float]:
        """Of what is left when the noise is taken away; v is minus that at high noise."""
        prediction = model.told_clusters(clusters, guidance).predict(x_t, late)
        return (-prediction[:, :3]).mean(dim=(1, 2, 3)).tolist()

    dark, bright = brightness([0, 1])
    assert bright - dark > 1
    exaggerated = brightness([0, 1], guidance=2.0)
    assert exaggerated[1] - exaggerated[0] > bright - dark
    ignored = brightness([0, 0], guidance=0.0)
    assert ignored == pytest.approx(brightness([1, 1], guidance=0.0), abs=1e-5)


def test_a_training_that_is_told_clusters_resumes_bit_equal(pairs: Tensor) -> None:
    clusters = [0, 1, 2, 0, 1]
    start = TrainingState.start(AWARE, 7, clusters=3)
    uncut = train(start, pairs, AWARE, seed=7, until_images_seen=24, clusters=clusters).to_tensors()
    cut = train(TrainingState.start(AWARE, 7, clusters=3), pairs, AWARE, seed=7, until_images_seen=9, clusters=clusters)
    resumed = TrainingState.from_tensors(AWARE, cut.to_tensors())
    assert_same(train(resumed, pairs, AWARE, seed=7, until_images_seen=24, clusters=clusters).to_tensors(), uncut)


def test_a_model_says_which_weights_it_holds_and_refuses_those_of_another_network() -> None:
    state = TrainingState.start(AWARE, 1)
    assert DiffusionModel.from_tensors(AWARE, state.to_tensors()).weights == "average"
    assert DiffusionModel.from_tensors(AWARE, state.network.state_dict()).weights == "raw"
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        DiffusionModel.from_tensors(PAPER, state.to_tensors())


@pytest.mark.parametrize("preset", [AWARE, PAPER], ids=["aware", "paper"])
def test_a_training_on_several_classes_resumes_and_starts_others_that_may_be_told_clusters(preset: Preset) -> None:
    preset, pairs = preset.with_overrides({"network.classes": 2, "training.lesion_balance": 0.5}), class_pairs(5)
    batch = preset.training.batch
    uncut = train(TrainingState.start(preset, 7), pairs, preset, seed=7, until_images_seen=2 * batch)
    cut = train(TrainingState.start(preset, 7), pairs, preset, seed=7, until_images_seen=batch)
    resumed = TrainingState.from_tensors(preset, cut.to_tensors())
    train(resumed, pairs, preset, seed=7, until_images_seen=2 * batch)
    assert_same(resumed.to_tensors(), uncut.to_tensors())
    warm = TrainingState.start(preset, 8, warm_start=uncut.average.state_dict(), clusters=3)
    told = train(warm, pairs, preset, seed=8, until_images_seen=batch, clusters=[0, 1, 2, 0, 1])
    assert DiffusionModel.from_tensors(preset, told.to_tensors()).network.clusters == 3


def test_pairs_of_other_classes_than_the_networks_are_not_trained_on(pairs: Tensor) -> None:
    with pytest.raises(ValueError, match="5, 16, 16"):
        two = AWARE.with_overrides({"network.classes": 2})
        train(TrainingState.start(two, 7), pairs, two, seed=7, until_images_seen=1)


def losses_of_a_silent_network(preset: Preset, areas: tuple[float, float]) -> list[float]:
    """Of two images, the same but for how much of them is drawn."""
    noise = torch.ones(1, 4, 16, 16).expand(2, -1, -1, -1)
    region = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    for each, area in zip(region, areas, strict=True):
        each[:, : round(16 * area)] = True
    grey = torch.full((2, 4, 16, 16), 127, dtype=torch.uint8)
    batch = DrawnBatch(grey, region, noise, torch.tensor([0.3, 0.3], dtype=torch.float64), None)
    losses: list[float] = batch_losses(lambda x, *_: torch.zeros_like(x[:, :4]), batch, preset, None).tolist()
    return losses


def test_regions_teach_alike_or_by_their_size() -> None:
    region, picture = (AWARE.with_overrides({"training.loss_over": over}) for over in ("region", "picture"))
    small, large = losses_of_a_silent_network(region, (0.25, 1.0))
    assert small == pytest.approx(large)
    small, large = losses_of_a_silent_network(picture, (0.25, 1.0))
    assert small == pytest.approx(large / 4)


def test_the_noise_levels_weigh_as_they_were_asked_to() -> None:
    prediction, root = (AWARE.with_overrides({"training.loss_weight": by}) for by in ("prediction", "root_snr"))
    flat, weighed = (losses_of_a_silent_network(preset, (1.0, 1.0))[0] for preset in (prediction, root))
    log_snr = cosine_log_snr(torch.tensor(0.3), AWARE.diffusion.log_snr_shift).item()
    assert weighed / flat == pytest.approx(1 / math.cosh(log_snr / 2), rel=1e-4)


def test_errors_of_epsilon_are_not_weighed_as_if_they_were_of_v() -> None:
    with pytest.raises(PresetOverrideRejected, match="loss_weight"):
        PAPER.with_overrides({"training.loss_weight": "root_snr"})


@pytest.mark.parametrize("flips", ["none", "horizontal", "both"])
def test_a_picture_and_its_label_are_flipped_together(flips: str) -> None:
    """Red shows the label, and each row and column has a brightness of its own in green and blue."""
    label = torch.zeros(16, 16, dtype=torch.uint8)
    label[2:7, 3:12], label[9, 1] = 255, 255
    rows = torch.arange(16, dtype=torch.uint8)[:, None].expand(16, 16)
    pair = torch.stack([label, rows, rows.T, label])
    spec = AWARE.with_overrides({"training.flips": flips}).training
    seen = TrainingPairs(pair[None], spec, seed=2).draw(range(40)).pairs
    assert torch.equal(seen[:, 0], seen[:, 3])
    turned = {(bool(each[1, 0, 0]), bool(each[2, 0, 0])) for each in seen}
    wanted = {"none": {(False, False)}, "horizontal": {(False, False), (False, True)}}
    assert turned == wanted.get(flips, {(up, left) for up in (False, True) for left in (False, True)})
