"""Towers of style and texture: the published networks under their published names, and stand-ins that say so."""

import pytest
import torch
from torch import Tensor
from torchvision.models import vgg19
from torchvision.models.vision_transformer import VisionTransformer

from segsmith_shared.plans.weights import WeightsCorrupt
from segsmith_shared.vision import dino, vgg
from segsmith_shared.vision.dino import DinoName, dino_tower
from segsmith_shared.vision.towers import (
    BuiltInStyleTower,
    BuiltInTextureTower,
    StyleTower,
    TextureTower,
    describe_tower,
    standardised,
)
from segsmith_shared.vision.vgg import vgg_tower


def drawn(layout: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Random values in a layout, scaled so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, like in layout.items():
        fan_in = like[0].numel() if like.ndim > 1 else 10
        shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = shift + torch.randn(like.shape, generator=generator) * (1 / fan_in) ** 0.5
    return tensors


@pytest.fixture(scope="module")
def small_dino() -> dict[str, Tensor]:
    return drawn(dino.empty_network("dino-vit-s8").state_dict())


@pytest.fixture(scope="module")
def vgg_layers() -> dict[str, Tensor]:
    return {f"features.{name}": value for name, value in drawn(vgg.empty_layers().state_dict()).items()}


def pictures(count: int, side_px: int) -> Tensor:
    return torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))


def torchvisions_transformer(weights: dict[str, Tensor]) -> VisionTransformer:
    """Another author's ViT-S/8 under the same weights, ending where the last block does."""
    network = VisionTransformer(
        image_size=224, patch_size=8, num_layers=12, num_heads=6, hidden_dim=384, mlp_dim=1536, num_classes=1
    )
    translated = {
        "class_token": weights["cls_token"],
        "encoder.pos_embedding": weights["pos_embed"],
        "conv_proj.weight": weights["patch_embed.proj.weight"],
        "conv_proj.bias": weights["patch_embed.proj.bias"],
    }
    parts = {
        "norm1": "ln_1",
        "attn.qkv": "self_attention.in_proj_",
        "attn.proj": "self_attention.out_proj",
        "norm2": "ln_2",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.3",
    }
    for block in range(12):
        for theirs, ours in parts.items():
            for kind in ("weight", "bias"):
                name = f"{ours}{kind}" if ours.endswith("_") else f"{ours}.{kind}"
                translated[f"encoder.layers.encoder_layer_{block}.{name}"] = weights[f"blocks.{block}.{theirs}.{kind}"]
    left_out = network.load_state_dict(translated, strict=False).missing_keys
    assert sorted(left_out) == ["encoder.ln.bias", "encoder.ln.weight", "heads.head.bias", "heads.head.weight"]
    network.encoder.ln = torch.nn.Identity()
    network.heads = torch.nn.Identity()
    return network.eval()


def test_dinos_vector_is_the_cls_token_of_the_last_block_as_another_implementation_computes_it(
    small_dino: dict[str, Tensor],
) -> None:
    tower = dino_tower("dino-vit-s8", small_dino, digest="random")
    shown = pictures(1, 224)
    with torch.no_grad():
        ours, theirs = tower.vectors(shown), torchvisions_transformer(small_dino)(standardised(shown))
    assert ours.shape == (1, 384)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "megabytes"), [("dino-vit-s8", 87), ("dino-vit-b8", 343)])
def test_dinos_networks_are_as_large_as_the_published_files(name: DinoName, megabytes: int) -> None:
    numbers = sum(tensor.numel() for tensor in dino.empty_network(name).state_dict().values())
    assert round(4 * numbers / 1e6) == megabytes


def test_dino_sees_pictures_of_any_size_and_sends_gradients_back(small_dino: dict[str, Tensor]) -> None:
    tower = dino_tower("dino-vit-s8", small_dino, digest="random", side_px=32)
    shown = pictures(2, 48).requires_grad_()
    vectors = tower.vectors(shown)
    (slope,) = torch.autograd.grad(vectors.square().sum(), shown)
    assert vectors.shape == (2, 384)
    assert (slope.flatten(1).norm(dim=1) > 0).all()
    alone = tower.vectors(shown[1:]).detach()
    torch.testing.assert_close(alone[0], vectors[1].detach(), rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused(small_dino: dict[str, Tensor], vgg_layers: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsCorrupt, match="dino-vit-b8"):
        dino_tower("dino-vit-b8", small_dino, digest="random")
    with pytest.raises(WeightsCorrupt, match=r"norm\.bias"):
        dino_tower("dino-vit-s8", {k: v for k, v in small_dino.items() if k != "norm.bias"}, digest="random")
    with pytest.raises(WeightsCorrupt, match="extra"):
        dino_tower("dino-vit-s8", small_dino | {"extra": torch.zeros(1)}, digest="random")
    with pytest.raises(WeightsCorrupt, match="VGG"):
        vgg_tower({k: v for k, v in vgg_layers.items() if k != "features.5.weight"}, digest="random")
    with pytest.raises(ValueError, match="multiple of 8"):
        dino_tower("dino-vit-s8", small_dino, digest="random", side_px=100)


def test_vggs_maps_are_those_of_torchvisions_network(vgg_layers: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        whole = vgg19(weights=None, init_weights=False)
    features = whole.features[:7]
    features.load_state_dict({k.removeprefix("features."): v for k, v in vgg_layers.items()}, assign=True)
    shown = pictures(2, 32)
    fine, coarse = vgg_tower(vgg_layers, digest="random").maps(shown)
    assert (fine.shape, coarse.shape) == ((2, 64, 32, 32), (2, 128, 16, 16))
    torch.testing.assert_close(coarse, features(standardised(shown)))
    torch.testing.assert_close(fine, features[:2](standardised(shown)))


def test_vgg_reads_a_whole_file_or_its_features_alone(vgg_layers: dict[str, Tensor]) -> None:
    shown = pictures(1, 16)
    whole = vgg_tower(vgg_layers | {"classifier.0.weight": torch.zeros(2, 2)}, digest="random").maps(shown)
    alone = vgg_tower({k.removeprefix("features."): v for k, v in vgg_layers.items()}, digest="random").maps(shown)
    assert all(torch.equal(one, other) for one, other in zip(whole, alone, strict=True))


def test_the_published_towers_do_not_call_themselves_stand_ins(
    small_dino: dict[str, Tensor], vgg_layers: dict[str, Tensor]
) -> None:
    described = describe_tower(dino_tower("dino-vit-s8", small_dino, digest="abc"))
    assert described == {"name": "dino-vit-s8", "digest": "abc", "stand_in": False}
    assert not describe_tower(vgg_tower(vgg_layers, digest="abc"))["stand_in"]


def test_stand_ins_repeat_say_what_they_are_and_send_gradients_back() -> None:
    style: StyleTower = BuiltInStyleTower()
    texture: TextureTower = BuiltInTextureTower()
    assert (style.stand_in, texture.stand_in) == (True, True)
    assert style.digest == BuiltInStyleTower().digest != texture.digest
    shown = pictures(2, 24).requires_grad_()
    loss = style.vectors(shown).square().sum() + sum(each.square().sum() for each in texture.maps(shown))
    (slope,) = torch.autograd.grad(loss, shown)
    assert slope.isfinite().all()
    assert (slope.flatten(1).norm(dim=1) > 0).all()


def test_a_picture_of_one_colour_has_a_finite_slope() -> None:
    plain = torch.full((1, 3, 16, 16), 0.4, requires_grad=True)
    (slope,) = torch.autograd.grad(BuiltInStyleTower().vectors(plain).sum(), plain)
    assert slope.isfinite().all()


def test_the_built_in_style_tells_looks_apart_more_than_pictures_of_one_look() -> None:
    tower, shown = BuiltInStyleTower(), pictures(6, 32)
    reddish = shown * torch.tensor([1.0, 0.6, 0.5]).view(1, 3, 1, 1)
    bluish = shown * torch.tensor([0.5, 0.6, 1.0]).view(1, 3, 1, 1)
    red, blue = tower.vectors(reddish), tower.vectors(bluish)
    within = (red[:3] - red[3:]).square().mean()
    assert (red - blue).square().mean() > 3 * within
