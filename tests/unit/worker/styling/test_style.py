"""Styling as a whole: bytes in, bytes and labels out, nobody's neighbour, and the two procedures told apart."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.styling import ModelCannotStyle, StylingSpec
from segsmith_worker.diffusion.labels import class_maps_of
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.unet import UNet
from segsmith_worker.precision import computes_in_bfloat16
from segsmith_worker.styling.guidance import StyleStep, Towers
from segsmith_worker.styling.losses import TERMS
from segsmith_worker.styling.style import StyleResult, label_dice, style
from tests.fixtures.class_pairs import class_pairs

SEEDS = [11, 22, 33]
SHORT: dict[str, Any] = {
    "respaced_steps": 6,
    "skipped_steps": 2,
    "batch": 2,
    "divergence_until": 2,
    "precision": "float32",
}


@dataclass(frozen=True)
class Scene:
    """Three pairs, what they are styled after, and where."""

    towers: Towers
    contents: Tensor
    targets: Tensor
    regions: Tensor

    def styled(self, model: DiffusionModel, order: list[int] | None = None, **changed: Any) -> StyleResult:
        rows = [0, 1, 2] if order is None else order
        spec = StylingSpec().with_overrides(SHORT | {"weights_scale_with_area": True} | changed)
        seeds = [SEEDS[row] for row in rows]
        return style(model, self.towers, self.contents[rows], self.targets[rows], self.regions[rows], seeds, spec)


@pytest.fixture
def scene(towers: Towers, contents: Tensor, targets: Tensor, regions: Tensor) -> Scene:
    return Scene(towers, contents, targets, regions)


def test_a_sample_is_bit_equal_in_any_order_and_company(model: DiffusionModel, scene: Scene) -> None:
    together = scene.styled(model)
    for order in ([2, 0, 1], [1]):
        others = scene.styled(model, order)
        assert torch.equal(together.images[order], others.images)
        assert torch.equal(together.mask_channels[order], others.mask_channels)
        assert torch.equal(together.label_drift[order], others.label_drift)


def test_a_batch_of_one_agrees_with_a_batch_of_three(model: DiffusionModel, scene: Scene) -> None:
    one, three = scene.styled(model, batch=1), scene.styled(model, batch=3)
    assert (one.mask_channels - three.mask_channels).abs().max() < 1e-4
    assert (one.images.int() - three.images.int()).abs().max() <= 1


def test_a_network_that_is_told_the_cluster_styles_in_the_manner_of_the_one_it_is_told(
    told: DiffusionModel, scene: Scene
) -> None:
    spec = StylingSpec().with_overrides(SHORT)

    def styled(clusters: list[int] | None) -> Tensor:
        parts = (scene.towers, scene.contents, scene.targets, scene.regions, SEEDS, spec)
        return style(told, *parts, clusters=clusters).mask_channels

    first, mixed, untold = styled([0, 0, 0]), styled([0, 2, 0]), styled(None)
    assert torch.equal(first[[0, 2]], mixed[[0, 2]])
    assert not torch.equal(first[1], mixed[1])
    assert not torch.equal(first, untold)


def test_bfloat16_where_the_device_has_it_moves_a_picture_by_a_shade(model: DiffusionModel, scene: Scene) -> None:
    exact, fast = scene.styled(model), scene.styled(model, precision="auto")
    assert (fast.images.int() - exact.images.int()).abs().float().mean() < 2
    assert torch.equal(fast.images, exact.images) != computes_in_bfloat16("cpu")


def test_a_batch_too_large_for_memory_is_styled_in_halves(
    model: DiffusionModel, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = scene.styled(model, batch=1), list[int]()
    evaluate = type(model.network).forward_with_encoder

    def of_one(network: UNet, x: Tensor, *others: Any) -> tuple[Tensor, list[Tensor]]:
        if len(x) > 1:
            raise torch.OutOfMemoryError
        return evaluate(network, x, *others)

    monkeypatch.setattr(UNet, "forward_with_encoder", of_one)
    spec = StylingSpec().with_overrides(SHORT | {"batch": 4})
    halves = style(
        model, scene.towers, scene.contents, scene.targets, scene.regions, SEEDS, spec, on_smaller_batch=told.append
    )
    assert told == [2, 1]
    assert torch.equal(halves.images, whole.images)


def test_grey_pictures_stay_grey(model: DiffusionModel, scene: Scene) -> None:
    images = scene.styled(model, colour="grey").images
    assert torch.equal(images, images[:, :1].expand_as(images))


def test_another_seed_gives_another_picture(model: DiffusionModel, scene: Scene) -> None:
    spec = StylingSpec().with_overrides(SHORT)
    content, target, region = scene.contents[:1], scene.targets[:1], scene.regions[:1]
    first, second = (style(model, scene.towers, content, target, region, [seed], spec).images for seed in (1, 2))
    assert not torch.equal(first, second)


def test_steps_are_told_for_real_samples_only(paper: DiffusionModel, scene: Scene) -> None:
    told: list[StyleStep] = []
    spec = StylingSpec().with_overrides(SHORT)
    style(paper, scene.towers, scene.contents, scene.targets, scene.regions, SEEDS, spec, told.append)
    assert [len(step.terms["l2"]) for step in told] == [2] * 4 + [1] * 4  # two, then the third beside its repeat


def test_the_corrected_procedure_keeps_the_inpainted_label_and_measures_how_far_the_mask_drifted(
    model: DiffusionModel, scene: Scene
) -> None:
    result = scene.styled(model)
    inpainted = scene.contents[:, 3] >= 128
    assert torch.equal(result.labels > 0, inpainted)
    for mask, label, drift in zip(result.mask_channels[:, 0] > 0, inpainted, result.label_drift.tolist(), strict=True):
        assert drift == pytest.approx(2 * int((mask & label).sum()) / int(mask.sum() + label.sum()))


def test_the_authors_take_the_label_from_the_drifted_mask_channel(paper: DiffusionModel, scene: Scene) -> None:
    result = scene.styled(paper, procedure="authors", weights_scale_with_area=True, opening_px=0)
    assert torch.equal(result.labels > 0, result.mask_channels[:, 0] > 0)
    assert not torch.equal(result.labels > 0, scene.contents[:, 3] >= 128)


def test_labels_that_agree_have_dice_one_and_so_have_two_empty_ones() -> None:
    some = torch.tensor([[1, 0], [1, 1]], dtype=torch.uint8)
    none = torch.zeros(2, 2, dtype=torch.uint8)
    dice = label_dice(torch.stack([some, none, some]), torch.stack([some, none, none]))
    assert dice.tolist() == [1, 1, 0]


def test_the_authors_stretch_colours_over_the_whole_range_and_the_corrected_clip_them(
    paper: DiffusionModel, scene: Scene
) -> None:
    narrow = Scene(scene.towers, scene.contents, scene.targets // 4 + 90, scene.regions)
    stretched, clipped = (narrow.styled(paper, colour_range=how).images for how in ("stretch", "clip"))
    assert stretched.amin(dim=(1, 2, 3)).tolist() == [0, 0, 0]
    assert stretched.amax(dim=(1, 2, 3)).tolist() == [255, 255, 255]
    assert (clipped.amax(dim=(1, 2, 3)) - clipped.amin(dim=(1, 2, 3)) < 200).all()
    means = clipped.float().mean(dim=(2, 3)), narrow.targets.float().mean(dim=(2, 3))
    torch.testing.assert_close(*means, atol=1.0, rtol=0)


def test_the_corrected_l2_does_not_see_the_old_lesion_and_the_authors_does(paper: DiffusionModel, scene: Scene) -> None:
    other = scene.targets.clone()
    other.movedim(1, -1)[scene.regions] = 255
    changed = Scene(scene.towers, scene.contents, other, scene.regions)
    only_l2: dict[str, Any] = {f"{name}_weight": 0.0 for name in TERMS} | {
        "l2_weight": 2000.0,
        "colour_matching": "none",
    }

    def images(which: Scene, region: str) -> Tensor:
        return which.styled(paper, **only_l2, l2_region=region).images

    assert torch.equal(images(scene, "kept"), images(changed, "kept"))
    assert not torch.equal(images(scene, "all"), images(changed, "all"))


@pytest.mark.parametrize(("procedure", "darkest"), [("corrected", 0.0), ("authors", -1.0)])
def test_the_authors_show_vgg_another_range(
    paper: DiffusionModel, scene: Scene, procedure: str, darkest: float
) -> None:
    shown: list[Tensor] = []

    class Watching:
        name, digest, stand_in = "watching", "none", True

        def maps(self, pictures: Tensor) -> list[Tensor]:
            shown.append(pictures.detach())
            return scene.towers.texture.maps(pictures)

    black = scene.contents.clone()
    black[:, :3] = 0
    watched = Scene(Towers(scene.towers.style, Watching()), black, scene.targets, scene.regions)
    watched.styled(paper, procedure=procedure, weights_scale_with_area=True, noise_augmented=False)
    assert (shown[0] == darkest).all()  # the content, black and without noise


def test_nothing_is_pasted_back_unless_the_spec_says_so(paper: DiffusionModel, scene: Scene) -> None:
    kept, sources = ~scene.regions, scene.contents[:, :3].movedim(1, -1)
    assert not torch.equal(scene.styled(paper).images.movedim(1, -1)[kept], sources[kept])
    pasted = scene.styled(paper, paste_known=True).images.movedim(1, -1)
    assert torch.equal(pasted[kept], sources[kept])
    assert not torch.equal(pasted[~kept], sources[~kept])


def test_an_aware_model_keeps_the_bytes_around_the_region_where_colours_are_left_alone(
    aware: DiffusionModel, scene: Scene
) -> None:
    kept = ~scene.regions
    images = scene.styled(aware, colour_matching="none").images.movedim(1, -1)
    assert torch.equal(images[kept], scene.contents[:, :3].movedim(1, -1)[kept])


def test_an_aware_model_draws_whole_pictures_only_if_it_learned_to(aware: DiffusionModel, scene: Scene) -> None:
    with pytest.raises(ModelCannotStyle, match="whole-picture"):
        scene.styled(aware, extent="picture")
    learned = aware.preset.with_overrides({"training.region_full_share": 0.1})
    images = scene.styled(DiffusionModel(aware.network, learned, aware.weights), extent="picture").images
    kept = ~scene.regions
    assert not torch.equal(images.movedim(1, -1)[kept], scene.contents[:, :3].movedim(1, -1)[kept])


def test_a_chain_cannot_be_respaced_to_more_levels_than_it_has(paper: DiffusionModel, scene: Scene) -> None:
    with pytest.raises(ModelCannotStyle, match="1000"):
        scene.styled(paper, respaced_steps=1001, skipped_steps=1000)


@pytest.mark.parametrize("wrong", ["contents", "targets", "regions"])
def test_every_sample_needs_a_content_a_target_and_a_region(paper: DiffusionModel, scene: Scene, wrong: str) -> None:
    given = {name: getattr(scene, name) for name in ("contents", "targets", "regions")}
    given[wrong] = given[wrong][:2]
    with pytest.raises(ValueError, match=wrong):
        style(paper, scene.towers, **given, seeds=SEEDS, spec=StylingSpec())


def test_styled_pairs_of_several_classes_keep_each_pixels_class(two_classes: DiffusionModel, scene: Scene) -> None:
    contents = class_pairs(3)
    result = replace(scene, contents=contents).styled(two_classes)
    assert result.mask_channels.shape == (3, 2, 16, 16)
    assert torch.equal(result.labels, class_maps_of(contents))
    assert set(result.labels.flatten().tolist()) == {0, 1, 2}


def test_a_label_of_another_class_at_the_same_place_does_not_agree() -> None:
    first = torch.tensor([[[1, 1], [0, 0]], [[1, 2], [0, 0]]], dtype=torch.uint8)
    second = torch.tensor([[[2, 2], [0, 0]], [[1, 1], [0, 0]]], dtype=torch.uint8)
    assert label_dice(first, second).tolist() == [0, 0.5]
