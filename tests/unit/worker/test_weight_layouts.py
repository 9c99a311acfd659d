"""A pretrained file must hold the tensors of the network that will read it, and is told which it lacks."""

import pytest
import torch

from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.weights import GUIDED_DIFFUSION, PRETRAINED, WeightsCorrupt
from segsmith_worker.diffusion.unet import UNet
from segsmith_worker.weight_layouts import _NETWORKS, Shapes, check_layout


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in _NETWORKS[name]().state_dict().items()}


def public_shapes() -> dict[str, tuple[int, ...]]:
    """guided-diffusion's unconditional 256 px model: three channels, attention at 32, 16 and 8."""
    preset = preset_named("paper-256-2023").with_overrides({"network.attention_sides_px": (32, 16, 8)})
    with torch.device("meta"):
        state = UNet(preset.network, region_channel=False, learned_range=True).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return shapes | {"input_blocks.0.0.weight": (256, 3, 3, 3), "out.2.weight": (6, 256, 3, 3), "out.2.bias": (6,)}


def test_every_file_of_the_registry_has_a_layout_of_about_its_size() -> None:
    for known in PRETRAINED.values():
        shapes: Shapes = public_shapes() if known.name == GUIDED_DIFFUSION else shapes_of(known.name)
        check_layout(known.name, shapes)
        megabytes = sum(4 * torch.Size(shape).numel() for shape in shapes.values()) / 1e6
        classifier_mb = {"vgg19": 495, "resnet50-imagenet": 8}.get(known.name, 3)
        assert known.megabytes - classifier_mb - 1 <= megabytes <= known.megabytes + 1, known.name


def test_counters_that_older_files_lack_are_not_missed() -> None:
    shapes = {key: shape for key, shape in shapes_of("resnet18-imagenet").items() if "num_batches" not in key}
    check_layout("resnet18-imagenet", shapes)


@pytest.mark.parametrize("name", ["dino-vit-s8", GUIDED_DIFFUSION])
def test_a_lacking_a_strange_and_a_misshapen_tensor_are_named(name: str) -> None:
    shapes = public_shapes() if name == GUIDED_DIFFUSION else shapes_of(name)
    first = next(iter(shapes))
    for wrong in (
        {**shapes, first: (1, 2)},
        {**shapes, "zebra": (3,)},
        {k: s for k, s in shapes.items() if k != first},
    ):
        with pytest.raises(WeightsCorrupt, match=name):
            check_layout(name, wrong)


def test_the_smaller_dino_is_not_the_larger() -> None:
    with pytest.raises(WeightsCorrupt, match=r"384.*not.*768"):
        check_layout("dino-vit-b8", shapes_of("dino-vit-s8"))
