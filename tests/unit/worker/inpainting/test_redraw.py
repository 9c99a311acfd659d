"""Redrawing: what is kept is kept exactly, a sample is nobody's neighbour, and a bad pair says why it is bad."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import Preset, PresetOverrideRejected, SamplingSpec, preset_named
from segsmith_worker.diffusion.memory import OutOfDeviceMemory
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import SamplingReport, sample_unconditionally
from segsmith_worker.diffusion.training import TrainingState, train
from segsmith_worker.inpainting.redraw import (
    ModelCannotRedraw,
    RedrawResult,
    RejectionReason,
    choose_cluster,
    redraw,
)
from segsmith_worker.inpainting.regions import redraw_regions
from tests.fixtures.smallest_network import NETWORK

ANY_REGION = {
    "region_ellipse_share": 0.2,
    "region_background_share": 0.2,
    "region_full_share": 0.2,
    "label_given_share": 0.3,
}
AWARE = preset_named("tiny-cpu").with_overrides(
    {
        "network": NETWORK,
        "training": {"batch": 4, "micro_batch": 4, "images_total": 200, "learning_rate": 2e-3} | ANY_REGION,
        "sampling": {"batch": 4, "evaluations": 6},
    }
)
PAPER = preset_named("paper-256-2023").with_overrides(
    {
        "network": NETWORK,
        "training": {"batch": 4, "micro_batch": 4, "images_total": 120, "learning_rate": 2e-3},
        "sampling": {"batch": 4, "respaced_steps": 12, "jump_length": 3, "jump_visits": 2},
    }
)


@pytest.fixture(scope="module")
def sources() -> Tensor:
    """Eight drawn pairs, uint8 (8, 4, 16, 16)."""
    drawn = [draw_pair(0, index, 16) for index in range(8)]
    stacked = np.stack([np.dstack([image, label * np.uint8(255)]) for image, label in drawn])
    return torch.from_numpy(stacked).movedim(3, 1).contiguous()


def trained(preset: Preset, pairs: Tensor) -> DiffusionModel:
    state = TrainingState.start(preset, 3)
    train(state, pairs, preset, seed=3, until_images_seen=preset.training.images_total)
    return DiffusionModel.from_tensors(preset, state.to_tensors())


@pytest.fixture(scope="module")
def aware(sources: Tensor) -> DiffusionModel:
    return trained(AWARE, sources)


@pytest.fixture(scope="module")
def paper(sources: Tensor) -> DiffusionModel:
    return trained(PAPER, sources)


def blended(paper: DiffusionModel, stochasticity: float) -> DiffusionModel:
    """The paper's model, sampled with DDIM steps."""
    sampling = {"sampler": "blended", "respaced_steps": 8, "jump_length": 2, "stochasticity": stochasticity}
    return replace(paper, preset=PAPER.with_overrides({"sampling": sampling}))


@pytest.fixture(scope="module")
def stochastic(paper: DiffusionModel) -> DiffusionModel:
    return blended(paper, 1.0)


@pytest.fixture(scope="module")
def deterministic(paper: DiffusionModel) -> DiffusionModel:
    return blended(paper, 0.0)


@pytest.fixture(scope="module")
def bent(aware: DiffusionModel) -> DiffusionModel:
    return replace(aware, preset=AWARE.with_overrides({"sampling.order": 2}))


@pytest.fixture(scope="module")
def langevin(paper: DiffusionModel) -> DiffusionModel:
    sampling = {"sampler": "langevin", "respaced_steps": 5, "langevin_steps": 1, "label_core": 0.5}
    return replace(paper, preset=PAPER.with_overrides({"sampling": sampling}))


@pytest.fixture(scope="module")
def langevin_aware(aware: DiffusionModel) -> DiffusionModel:
    sampling = {"sampler": "langevin", "respaced_steps": 5, "langevin_steps": 1}
    return replace(aware, preset=AWARE.with_overrides({"sampling": sampling}))


@pytest.fixture(scope="module")
def coarse_to_fine(paper: DiffusionModel) -> DiffusionModel:
    sampling = {"sampler": "coarse_to_fine", "evaluations": 4, "coarse_evaluations": 6}
    return replace(paper, preset=PAPER.with_overrides({"sampling": sampling}))


SAMPLED = ("aware", "bent", "langevin_aware", "paper", "stochastic", "deterministic", "langevin", "coarse_to_fine")


@pytest.fixture(params=SAMPLED)
def model(request: pytest.FixtureRequest) -> DiffusionModel:
    chosen: DiffusionModel = request.getfixturevalue(request.param)
    return chosen


def spec_of(model: DiffusionModel, **changed: object) -> SamplingSpec:
    return model.preset.sampling.model_copy(update=changed)


def assert_equal(left: RedrawResult, right: RedrawResult, order: list[int]) -> None:
    """The right result, its rows in this order of the left one's."""
    assert torch.equal(left.images[order], right.images)
    assert torch.equal(left.mask_channels[order], right.mask_channels)
    assert torch.equal(left.labels[order], right.labels)


SEEDS = [11, 22, 33, 44, 55, 66, 77, 88]


@pytest.mark.parametrize("redrawn", ["lesion", "background"])
def test_the_background_of_a_corrected_sample_equals_its_source_exactly(
    model: DiffusionModel, sources: Tensor, redrawn: str
) -> None:
    result = redraw(model, sources, SEEDS, spec_of(model, redraw=redrawn))
    kept = ~result.redraw_regions
    assert kept.any(dim=(1, 2)).all()
    assert torch.equal(result.images.movedim(1, -1)[kept], sources[:, :3].movedim(1, -1)[kept])
    assert torch.equal(result.labels[kept] > 0, sources[:, 3][kept] >= 128)
    inside = result.images.movedim(1, -1)[~kept] != sources[:, :3].movedim(1, -1)[~kept]
    assert inside.float().mean() > 0.5


def test_the_authors_render_the_background_anew(paper: DiffusionModel, sources: Tensor) -> None:
    spec = PAPER.with_overrides({"procedure": "authors"}).sampling
    result = redraw(paper, sources, SEEDS, spec)
    kept = ~result.redraw_regions
    assert not torch.equal(result.images.movedim(1, -1)[kept], sources[:, :3].movedim(1, -1)[kept])


def test_a_sample_is_bit_equal_in_any_order_and_company(model: DiffusionModel, sources: Tensor) -> None:
    order = [6, 1, 4, 3, 0, 7, 2, 5]
    all_at_once = redraw(model, sources, SEEDS, spec_of(model))
    shuffled = redraw(model, sources[order], [SEEDS[at] for at in order], spec_of(model))
    assert_equal(all_at_once, shuffled, order)
    some = [5, 2, 7]
    assert_equal(all_at_once, redraw(model, sources[some], [SEEDS[at] for at in some], spec_of(model)), some)


def test_a_sample_is_bit_equal_after_a_restart(model: DiffusionModel, sources: Tensor) -> None:
    first = redraw(model, sources[:4], SEEDS[:4], spec_of(model))
    weights = {name: value.clone() for name, value in model.network.state_dict().items()}
    again = DiffusionModel.from_tensors(model.preset, weights)
    assert_equal(first, redraw(again, sources[:4], SEEDS[:4], spec_of(model)), [0, 1, 2, 3])


def test_a_sample_made_alone_agrees_with_one_made_among_four(model: DiffusionModel, sources: Tensor) -> None:
    among_four = redraw(model, sources[:4], SEEDS[:4], spec_of(model, batch=4)).mask_channels
    alone = redraw(model, sources[:4], SEEDS[:4], spec_of(model, batch=1)).mask_channels
    assert (alone - among_four).abs().max() < 1e-3


def test_another_seed_gives_another_sample(model: DiffusionModel, sources: Tensor) -> None:
    first, second = (redraw(model, sources[:4], seeds, spec_of(model)).images for seeds in (SEEDS[:4], SEEDS[4:]))
    assert (first != second).flatten(1).any(dim=1).all()


def test_every_evaluation_is_told_and_as_many_as_planned(model: DiffusionModel, sources: Tensor) -> None:
    told: list[SamplingReport] = []
    redraw(model, sources[:4], SEEDS[:4], spec_of(model), told.append)
    planned = evaluations_per_sample(model.preset.sampling)
    assert [report.evaluations_done for report in told] == list(range(1, planned + 1))
    assert {report.evaluations_total for report in told} == {planned}


def test_a_cancelled_redraw_ends_at_the_next_evaluation(model: DiffusionModel, sources: Tensor) -> None:
    class CancelledError(Exception):
        pass

    told: list[int] = []

    def cancel_at_three(report: SamplingReport) -> None:
        told.append(report.evaluations_done)
        if report.evaluations_done == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        redraw(model, sources, SEEDS, spec_of(model), cancel_at_three)
    assert told == [1, 2, 3]


def test_whole_pairs_need_no_source(model: DiffusionModel) -> None:
    result = redraw(model, None, SEEDS[:3], spec_of(model, redraw="full"))
    assert result.images.shape == (3, 3, 16, 16)
    assert result.redraw_regions.all()
    for one, other in pairwise(result.images):
        assert not torch.equal(one, other)


def test_a_source_without_lesion_has_nothing_to_redraw(model: DiffusionModel, sources: Tensor) -> None:
    empty = sources[:2].clone()
    empty[0, 3] = 0
    result = redraw(model, empty, SEEDS[:2], spec_of(model))
    assert result.rejection_reasons[0] == RejectionReason.NOTHING_TO_REDRAW
    assert not result.accepted[0]


def test_an_empty_label_is_rejected_and_never_silently_kept(aware: DiffusionModel, sources: Tensor) -> None:
    weights = {name: value.clone() for name, value in aware.network.state_dict().items()}
    weights["out.2.bias"][3] += 100.0  # v = +100 in the mask channel: background everywhere
    healthy = DiffusionModel.from_tensors(AWARE, weights)
    result = redraw(healthy, sources[:4], SEEDS[:4], spec_of(aware))
    assert result.rejection_reasons == [RejectionReason.EMPTY_LABEL] * 4
    assert result.accepted == [False] * 4


def test_a_label_away_from_the_redrawn_region_is_rejected(paper: DiffusionModel, sources: Tensor) -> None:
    """The authors do not paste: a mask channel that forgets the lesion but shows one elsewhere must not pass."""
    spec = PAPER.with_overrides({"procedure": "authors"}).sampling
    result = redraw(paper, sources, SEEDS, spec.model_copy(update={"opening_px": 0}))
    for label, region, reason in zip(result.labels, result.redraw_regions, result.rejection_reasons, strict=True):
        touches = bool((label & region).any())
        assert (reason == RejectionReason.LABEL_OUTSIDE_REGION) == (bool(label.any()) and not touches)


@pytest.mark.parametrize("source", ["own", "exchanged"])
def test_a_given_label_is_drawn_to_and_stays_as_it_is(model: DiffusionModel, sources: Tensor, source: str) -> None:
    own = (sources[:, 3] >= 128).to(torch.uint8)
    others = own[[1, 2, 3, 4, 5, 6, 7, 0]]
    given = others if source == "exchanged" else own
    spec = spec_of(model, label=source)
    result = redraw(model, sources, SEEDS, spec, labels=others if source == "exchanged" else None)
    assert torch.equal(result.labels, given)
    union = torch.from_numpy(redraw_regions(((given | own) > 0).numpy(), spec))
    assert torch.equal(result.redraw_regions, union)
    assert all(result.accepted)
    drawn = redraw(model, sources, SEEDS, spec_of(model))
    assert not torch.equal(result.images, drawn.images)
    assert (result.images != sources[:, :3])[union[:, None].expand(-1, 3, -1, -1)].float().mean() > 0.5


def test_grey_pictures_stay_grey(model: DiffusionModel, sources: Tensor) -> None:
    grey = sources.clone()
    grey[:, :3] = sources[:, 1:2]
    coloured, without = (redraw(model, grey, SEEDS, spec_of(model, colour=each)).images for each in ("rgb", "grey"))
    assert torch.equal(without, without[:, :1].expand_as(without))
    assert not torch.equal(coloured, coloured[:, :1].expand_as(coloured))


def test_bfloat16_samples_look_the_same_and_are_computed_otherwise(model: DiffusionModel, sources: Tensor) -> None:
    exact = redraw(model, sources[:4], [1, 2, 3, 4], spec_of(model, precision="float32"))
    coarse = redraw(model, sources[:4], [1, 2, 3, 4], spec_of(model, precision="bfloat16"))
    difference = (exact.images.float() - coarse.images.float()).abs()
    assert 0 < difference.mean() < 4
    assert coarse.mask_channels.dtype == torch.float32
    assert not torch.equal(coarse.mask_channels.bfloat16().float(), coarse.mask_channels), "the picture was rounded"


def test_on_a_cpu_samples_are_float32_unless_asked_for_otherwise(aware: DiffusionModel, sources: Tensor) -> None:
    by_itself = redraw(aware, sources[:4], [1, 2, 3, 4], spec_of(aware))
    exact = redraw(aware, sources[:4], [1, 2, 3, 4], spec_of(aware, precision="float32"))
    assert_equal(by_itself, exact, [0, 1, 2, 3])


def test_labels_are_given_just_where_they_are_exchanged(model: DiffusionModel, sources: Tensor) -> None:
    with pytest.raises(ValueError, match="exchanged"):
        redraw(model, sources, SEEDS, spec_of(model), labels=(sources[:, 3] >= 128).to(torch.uint8))
    with pytest.raises(ValueError, match="exchanged"):
        redraw(model, sources, SEEDS, spec_of(model, label="exchanged"))


def test_a_model_is_not_sampled_in_a_way_it_was_not_trained_for(
    aware: DiffusionModel, paper: DiffusionModel, sources: Tensor
) -> None:
    with pytest.raises(ModelCannotRedraw, match="ancestral_known_clean"):
        redraw(aware, sources, SEEDS, PAPER.sampling)
    with pytest.raises(ModelCannotRedraw, match="repaint"):
        redraw(paper, sources, SEEDS, AWARE.sampling)
    lesions_only = AWARE.with_overrides({"training.region_background_share": 0.0})
    with pytest.raises(PresetOverrideRejected, match="region_background_share above 0"):
        lesions_only.with_overrides({"sampling.redraw": "background"})
    untaught = AWARE.with_overrides({"training.label_given_share": 0.0})
    with pytest.raises(PresetOverrideRejected, match="label_given_share above 0"):
        untaught.with_overrides({"sampling.label": "own"})
    with pytest.raises(ModelCannotRedraw, match="given label"):
        redraw(DiffusionModel(aware.network, untaught, ""), sources, SEEDS, spec_of(aware, label="own"))
    narrow = DiffusionModel(aware.network, lesions_only, aware.weights)
    with pytest.raises(ModelCannotRedraw, match="background"):
        redraw(narrow, sources, SEEDS, spec_of(aware, redraw="background"))


def test_sources_and_seeds_must_match(aware: DiffusionModel, sources: Tensor) -> None:
    with pytest.raises(ValueError, match="one per seed"):
        redraw(aware, sources, SEEDS[:3], spec_of(aware))


def test_unconditional_samples_depend_on_their_own_seed(paper: DiffusionModel) -> None:
    both = sample_unconditionally(paper, [1, 2], evaluations=4)
    swapped = sample_unconditionally(paper, [2, 1], evaluations=4)
    assert both.shape == (2, 4, 16, 16)
    assert torch.allclose(both, swapped.flip(0), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-2)


def test_random_cluster_choice_draws_each_cluster_about_equally_and_repeats() -> None:
    spec = PAPER.sampling
    chosen = [choose_cluster(5, source, sample, 0, 4, spec) for source in range(200) for sample in range(3)]
    assert chosen == [choose_cluster(5, source, sample, 0, 4, spec) for source in range(200) for sample in range(3)]
    assert min(np.bincount(chosen, minlength=4)) > 100
    own = spec.model_copy(update={"cluster_choice": "own"})
    assert choose_cluster(5, 1, 1, 3, 4, own) == 3


def holding(model: DiffusionModel, most: int, batches: list[int]) -> DiffusionModel:
    """The same model on a device that holds at most so many pictures at once."""
    again = DiffusionModel.from_tensors(model.preset, model.network.state_dict())

    def weigh(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if len(arguments[0]) > most:
            raise torch.OutOfMemoryError
        batches.append(len(arguments[0]))

    again.network.register_forward_pre_hook(weigh)
    return again


def test_where_memory_runs_out_fewer_sources_are_redrawn_at_once_to_the_same_samples(
    model: DiffusionModel, sources: Tensor
) -> None:
    batches: list[int] = []
    told: list[int] = []
    tight = holding(model, 2, batches)
    result = redraw(tight, sources, SEEDS, spec_of(model, batch=8), on_smaller_batch=told.append)
    assert told == [4, 2]
    assert set(batches) == {2}
    assert len(result.accepted) == 8
    assert_equal(result, redraw(model, sources, SEEDS, spec_of(model, batch=2)), list(range(8)))
    roomy = redraw(model, sources, SEEDS, spec_of(model, batch=8))
    assert (result.mask_channels - roomy.mask_channels).abs().max() < 1e-3


def test_a_model_that_fits_no_device_says_what_to_do(aware: DiffusionModel, sources: Tensor) -> None:
    with pytest.raises(OutOfDeviceMemory, match="One picture at a time"):
        redraw(holding(aware, 0, []), sources, SEEDS, spec_of(aware))
