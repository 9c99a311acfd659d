"""One protocol for "a picture as a vector": the published FID-Inception, or a fixed stand-in that says so."""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from cleanfid.resize import build_resizer
from numpy.typing import NDArray
from sqlalchemy import Engine
from torch import Tensor
from torch.nn import functional

from segsmith_shared.plans.weights import FID_INCEPTION, WeightsCorrupt, fetch_command
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.vision.weights import pretrained

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
OnStep = Callable[[int, int], bool | None]


class Interrupted(Exception):
    """`on_step` asked to stop before anything usable was computed."""


class FeatureExtractor(Protocol):
    """Images → vectors. `digest` pins the weights; `stand_in`: results compare with no published figure."""

    name: str
    digest: str
    dimension: int
    stand_in: bool

    def features(self, images: Images, on_step: OnStep | None = None) -> Features:
        """uint8 (n, H, W, 3) → float32 (n, dimension). `on_step(done, total)` returning True raises Interrupted."""
        ...


def describe_extractor(extractor: FeatureExtractor) -> dict[str, Any]:
    """What a result computed with this extractor has to say about it, as JSON values."""
    return {
        "name": extractor.name,
        "digest": extractor.digest,
        "dimension": extractor.dimension,
        "stand_in": extractor.stand_in,
    }


def extractor_for(engine: Engine, objects: ObjectStore, *, allow_stand_in: bool = False) -> FeatureExtractor:
    """FID-Inception from its stored file, or, where there is none, the built-in network if a stand-in is allowed.

    Raises what `vision.weights.pretrained` does.
    """
    given = pretrained(engine, objects, FID_INCEPTION, allow_stand_in=allow_stand_in)
    return BuiltInExtractor() if given is None else InceptionExtractor.from_tensors(given.tensors, given.sha256)


class InceptionExtractor:
    """pool3 of FID-Inception after clean-fid's resize (bicubic, antialiased, in float, to 299 px)."""

    name = "fid-inception-pool3"
    dimension = 2048
    stand_in = False
    batch_images = 16

    def __init__(self, network: torch.nn.Module, digest: str, device: torch.device | str = "cpu") -> None:
        self.digest = digest
        self._device = torch.device(device)
        self._network = network.to(self._device)
        self._resize = build_resizer("clean")

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], digest: str) -> "InceptionExtractor":
        """`digest` is the published file's. Raises WeightsCorrupt when the tensors are not the network's."""
        from segsmith_shared.vision import inception  # brings torchvision: seconds that jobs without weights spare

        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            network = inception.feature_network(tensors)
        except RuntimeError as error:
            raise WeightsCorrupt(
                f"The stored file is not FID-Inception: {error}", hint=f"Run `{fetch_command([FID_INCEPTION])}`."
            ) from error
        return cls(network, digest, device)

    @torch.inference_mode()
    def features(self, images: Images, on_step: OnStep | None = None) -> Features:
        """uint8 (n, H, W, 3) → float32 (n, 2048)."""
        return _in_batches(images, self.batch_images, self.dimension, self._batch_features, on_step)

    def _batch_features(self, images: Images) -> Tensor:
        resized = torch.from_numpy(np.stack([self._resize(image) for image in images])).permute(0, 3, 1, 2)
        features: Tensor = self._network(
            (resized.to(self._device) - 128) / 128
        )  # clean-fid's range; pytorch-fid has another
        return features


class BuiltInExtractor:
    """A fixed random network for machines without weights: colour, edge and texture channels, no training, no file.

    Random convolutions are a fair texture descriptor (Saxe et al., ICML 2011); colour over a grid adds which and where.
    It separates groups that plainly differ; its distances compare with no published figure, hence `stand_in`.
    """

    name = "built-in-random-network-1"
    stand_in = True
    batch_images = 32
    side_px = 64
    _filters = (32, 64, 128)
    _grid = 4

    def __init__(self) -> None:
        self._kernels = _fixed_kernels(self._filters)
        self.dimension = 2 * sum(self._filters) + 3 * (self._grid**2 + 1)
        self.digest = sha256(b"".join(kernel.numpy().tobytes() for kernel in self._kernels)).hexdigest()

    @torch.inference_mode()
    def features(self, images: Images, on_step: OnStep | None = None) -> Features:
        """uint8 (n, H, W, 3) → float32 (n, 499)."""
        return _in_batches(images, self.batch_images, self.dimension, self._batch_features, on_step)

    def _batch_features(self, images: Images) -> Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        pixels = functional.interpolate(pixels, (self.side_px, self.side_px), mode="bicubic", antialias=True)
        maps = _opponent_colours(pixels)
        parts = [functional.adaptive_avg_pool2d(maps, self._grid).flatten(1), maps.std(dim=(2, 3))]
        for kernel in self._kernels:
            maps = functional.conv2d(functional.pad(maps, (1, 1, 1, 1), mode="reflect"), kernel).abs()
            parts += [maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))]
            maps = functional.avg_pool2d(maps, 2)
        return torch.cat(parts, dim=1)


class RememberingExtractor:
    """Another extractor that looks at equal arrays of pictures once, for a job that measures them several ways."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self._known: dict[tuple[tuple[int, ...], bytes], Features] = {}
        self.name, self.digest = extractor.name, extractor.digest
        self.dimension, self.stand_in = extractor.dimension, extractor.stand_in

    def features(self, images: Images, on_step: OnStep | None = None) -> Features:
        """uint8 (n, H, W, 3) → float32 (n, dimension); do not write into it."""
        key = images.shape, sha256(images.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._extractor.features(images, on_step)
        return self._known[key]


def _in_batches(
    images: Images, batch_images: int, dimension: int, extract: Callable[[Images], Tensor], on_step: OnStep | None
) -> Features:
    _check_images(images)
    features = np.empty((len(images), dimension), dtype=np.float32)
    for start, batch in _batches(images, batch_images):
        features[start : start + len(batch)] = extract(batch).cpu().numpy()
        if on_step is not None and on_step(start + len(batch), len(images)):
            raise Interrupted
    return features


def _batches(images: Images, batch_images: int) -> Iterator[tuple[int, Images]]:
    for start in range(0, len(images), batch_images):
        yield start, np.ascontiguousarray(images[start : start + batch_images])


def _check_images(images: Images) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be uint8 (n, H, W, 3), not {images.dtype} {images.shape}")


def _fixed_kernels(filters: tuple[int, ...]) -> list[Tensor]:
    """3×3 kernels of each layer, orthogonal as far as their number allows, so that no channel repeats another.

    They sum to zero per input channel (edges and texture: colour has its own features) and have length 2, so that the
    layers answer at about the size of the colour channels.
    """
    kernels, channels = [], 3
    for layer, count in enumerate(filters):
        rng = numpy_generator_for(0, "built-in-extractor", layer)
        kernel = rng.normal(size=(count, channels, 3, 3))
        kernel -= kernel.mean(axis=(2, 3), keepdims=True)
        flat = _orthogonal_rows(kernel.reshape(count, -1), group=8 * channels)
        kernels.append(torch.from_numpy((2 * flat).reshape(count, channels, 3, 3).astype(np.float32)))
        channels = count
    return kernels


def _orthogonal_rows(matrix: NDArray[np.float64], group: int) -> NDArray[np.float64]:
    """Rows of unit length, orthogonal within each `group` of rows (no larger than the rank of the rows' space)."""
    groups = [np.linalg.qr(matrix[start : start + group].T)[0].T for start in range(0, len(matrix), group)]
    return np.concatenate(groups)


def _opponent_colours(pixels: Tensor) -> Tensor:
    """RGB in 0…1 (n, 3, H, W) → lightness, red − green, blue − yellow, the last two doubled: hue varies less."""
    red, green, blue = pixels.unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, blue - (red + green) / 2], dim=1) * pixels.new_tensor(
        [1.0, 2.0, 2.0]
    ).view(1, 3, 1, 1)
