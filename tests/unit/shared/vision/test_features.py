"""Pictures as vectors: equal to clean-fid's on the same weights, and honest where a stand-in computes them."""

import warnings

import numpy as np
import pytest
import torch
from cleanfid import inception_pytorch as clean_inception
from numpy.typing import NDArray
from pytorch_fid import inception as fid_inception
from sklearn.metrics import silhouette_score

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.weights import WeightsCorrupt
from segsmith_shared.vision import inception
from segsmith_shared.vision.features import (
    BuiltInExtractor,
    Features,
    InceptionExtractor,
    Interrupted,
    OnStep,
    RememberingExtractor,
)

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def published_layout() -> dict[str, torch.Tensor]:
    """Random values under the published file's names and shapes, scaled so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in inception.empty_network().state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
        elif tensor.ndim == 4:
            scale = (2 / tensor[0].numel()) ** 0.5
            tensors[name] = torch.randn(tensor.shape, generator=generator) * scale
        else:
            tensors[name] = torch.rand(tensor.shape, generator=generator) + 0.5
    return tensors


def drawn_images(count: int, side_px: int, first: int = 0) -> Images:
    return np.stack([draw_pair(3, first + index, side_px)[0] for index in range(count)])


def test_inception_features_equal_clean_fids_network_on_the_same_weights(
    published_layout: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_inception, "load_state_dict_from_url", lambda *_, **__: published_layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # clean-fid still names torchvision's old argument
        oracle = clean_inception.InceptionV3(output_blocks=[3], resize_input=False, normalize_input=False).eval()
    extractor = InceptionExtractor(inception.feature_network(published_layout), "random")
    images = drawn_images(2, 48)

    ours = extractor.features(images)

    resized = np.stack([extractor._resize(image) for image in images])
    with torch.no_grad():
        theirs = oracle((torch.from_numpy(resized).permute(0, 3, 1, 2) - 128) / 128)[0].flatten(1).numpy()
    assert ours.shape == (2, 2048)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 1e-3


def test_the_network_is_pytorch_fids_network(
    published_layout: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fid_inception, "load_state_dict_from_url", lambda *_, **__: published_layout)
    oracle = fid_inception.InceptionV3(resize_input=False, normalize_input=True).eval()
    unit_range = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = oracle(unit_range)[0].flatten(1)
        ours = inception.feature_network(published_layout)(2 * unit_range - 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_tensors_of_another_network_are_refused_with_the_way_to_the_right_ones(
    published_layout: dict[str, torch.Tensor],
) -> None:
    lacking = {name: tensor for name, tensor in published_layout.items() if name != "Mixed_7c.branch1x1.conv.weight"}
    with pytest.raises(WeightsCorrupt, match="not FID-Inception") as caught:
        InceptionExtractor.from_tensors(lacking, "ab" * 32)
    assert "segsmith weights fetch fid-inception" in caught.value.hint


def test_built_in_features_repeat_and_do_not_depend_on_the_neighbours() -> None:
    images = drawn_images(40, 48)
    whole = BuiltInExtractor().features(images)
    assert BuiltInExtractor().digest == BuiltInExtractor().digest
    assert np.array_equal(whole, BuiltInExtractor().features(images))
    np.testing.assert_allclose(BuiltInExtractor().features(images[35:36])[0], whole[35], rtol=1e-4, atol=1e-5)


def test_built_in_features_are_well_conditioned() -> None:
    """No channel is dead, none drowns the others: FID on them would else be the FID of a few channels."""
    features = BuiltInExtractor().features(drawn_images(80, 48))
    deviations = features.std(axis=0)
    assert np.isfinite(features).all()
    assert deviations.min() > 1e-4
    assert deviations.max() / np.median(deviations) < 30


@pytest.mark.parametrize("change", ["hue", "lesion size", "texture", "darkness"])
def test_built_in_features_separate_groups_that_plainly_differ(change: str) -> None:
    images = drawn_images(40, 48)
    groups = np.repeat([0, 1], 20)
    if change == "hue":
        images[20:] = images[20:][..., [1, 2, 0]]
    elif change == "texture":
        noise = np.random.default_rng(0).integers(-25, 26, size=images[20:].shape)
        images[20:] = np.clip(images[20:].astype(int) + noise, 0, 255).astype(np.uint8)
    elif change == "darkness":
        images[20:] = images[20:] // 3
    else:
        images = np.stack([disc(radius, index) for index, radius in enumerate(np.repeat([5, 16], 20))])
    features = BuiltInExtractor().features(images)
    assert silhouette_score(features, groups) > 0.1


def disc(radius_px: int, index: int) -> Images:
    rng = np.random.default_rng(index)
    y, x = np.mgrid[0:48, 0:48] - rng.integers(18, 30, size=(2, 1, 1))
    image = np.full((48, 48, 3), (190, 110, 90), dtype=np.uint8)
    image[x**2 + y**2 < radius_px**2] = (170, 60, 90)
    return image


def test_a_caller_can_stop_between_batches() -> None:
    seen: list[tuple[int, int]] = []

    def stop_after_first(done: int, total: int) -> bool:
        seen.append((done, total))
        return True

    with pytest.raises(Interrupted):
        BuiltInExtractor().features(drawn_images(40, 16), stop_after_first)
    assert seen == [(32, 40)]


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        BuiltInExtractor().features(np.zeros((1, 8, 8, 3), dtype=np.float32))


def test_equal_pictures_are_looked_at_once_and_others_are_not_mixed_up() -> None:
    seen: list[int] = []

    class Counting(BuiltInExtractor):
        def features(self, images: Images, on_step: OnStep | None = None) -> Features:
            seen.append(len(images))
            return super().features(images, on_step)

    remembering, images = RememberingExtractor(Counting()), drawn_images(4, 32)
    first, again = remembering.features(images), remembering.features(images.copy())
    assert seen == [4]
    assert np.array_equal(first, again)
    assert not np.array_equal(remembering.features(images[::-1]), first)
    assert np.array_equal(first, BuiltInExtractor().features(images))
    assert (remembering.name, remembering.stand_in) == ("built-in-random-network-1", True)
