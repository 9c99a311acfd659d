"""UNet++ with a named encoder and reproducible initial weights: nothing is downloaded, no global seed is touched."""

from collections.abc import Mapping

import segmentation_models_pytorch
import torch
from torch import Tensor, nn

from segsmith_shared.pairs.pair import IGNORE
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.problems import InvalidInput
from segsmith_worker.randomness import generator_for

HEAD = "segmentation_head.0.weight"
"""The tensor whose rows are background and the classes."""
_TIMM_PREFIX = "model."
"""segmentation-models-pytorch keeps an encoder of timm one level deeper than its published files have it."""

# ImageNet's channel means and deviations of pixels in 0…1, which pretrained encoders expect.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class EncoderWeightsMismatch(InvalidInput):
    """The encoder's weight file belongs to another network."""

    title = "The encoder weights do not fit the encoder"


class UnknownEncoder(InvalidInput):
    """segmentation-models-pytorch and timm have no encoder of this name and depth."""

    title = "Unknown encoder"


def build(
    spec: SegmentationSpec, seed: int, encoder_weights: Mapping[str, Tensor] | None = None, classes: int = 1
) -> nn.Module:
    """UNet++: normalised images (n, 3, H, W) → probabilities (n, 1 + F, H, W), background's first, softmax inside.

    Initial weights come from `seed` alone; `encoder_weights` (names as in the encoder, a classifier's extra tensors are
    left out) replace the encoder's. Raises UnknownEncoder, EncoderWeightsMismatch.
    """
    network = _skeleton(spec, classes)
    _initialise(network, generator_for(seed, "segmentation-weights"))
    if encoder_weights is not None:
        _load_encoder(network.get_submodule("encoder"), encoder_weights)
    return network


def normalise(images: Tensor, spec: SegmentationSpec) -> Tensor:
    """uint8 (n, H, W, 3) → float (n, 3, H, W): pixels in 0…1, by ImageNet's statistics where the spec says so."""
    pixels = images.permute(0, 3, 1, 2).float() / 255
    if spec.input_statistics == "none":
        return pixels
    mean = pixels.new_tensor(_IMAGENET_MEAN).view(1, 3, 1, 1)
    return (pixels - mean) / pixels.new_tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1)


def soft_dice_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 − (2 Σpg + 1)/(Σp + Σg + 1) over the whole batch, the mean of all classes; (n, 1 + F, H, W), maps (n, H, W).

    Pixels labelled IGNORE count on neither side.
    """
    losses = []
    known = (labels != IGNORE).to(probabilities.dtype)
    for number in range(1, probabilities.shape[1]):
        predicted, truth = probabilities[:, number] * known, (labels == number).to(probabilities.dtype)
        losses.append(1 - (2 * (predicted * truth).sum() + 1) / (predicted.sum() + truth.sum() + 1))
    return torch.stack(losses).mean()


def classes_drawn(tensors: Mapping[str, Tensor], prefix: str = "") -> int:
    """How many classes a network with these weights tells apart, beside background."""
    return len(tensors[f"{prefix}{HEAD}"]) - 1


def _skeleton(spec: SegmentationSpec, classes: int) -> nn.Module:
    try:
        network: nn.Module = segmentation_models_pytorch.UnetPlusPlus(
            spec.encoder,
            encoder_depth=spec.encoder_depth,
            encoder_weights=None,
            decoder_channels=spec.decoder_channels,
            classes=1 + classes,
            activation="softmax2d",
        )
    except (KeyError, RuntimeError, ValueError) as error:
        raise UnknownEncoder(
            f"No encoder {spec.encoder!r} of depth {spec.encoder_depth}: {error}",
            hint="Use a name of segmentation-models-pytorch, or `tu-` and a name of timm.",
        ) from error
    return network


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """He's normal start for convolutions, ones and zeros for norms (He et al., ICCV 2015), from our generator alone."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif any(True for _ in module.parameters(recurse=False)):
            raise UnknownEncoder(
                f"This encoder has a layer that we cannot start reproducibly: {type(module).__name__}.",
                hint="Choose an encoder of convolutions, linear layers and batch norms.",
            )


def _load_encoder(encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    wanted = encoder.state_dict()
    if all(name.startswith(_TIMM_PREFIX) for name in wanted) and not any(n.startswith(_TIMM_PREFIX) for n in weights):
        weights = {_TIMM_PREFIX + name: tensor for name, tensor in weights.items()}
    missing = sorted(name for name in wanted if name not in weights and not name.endswith("num_batches_tracked"))
    if missing:
        raise EncoderWeightsMismatch(
            f"{len(missing)} of {len(wanted)} tensors are missing, the first is {missing[0]}.",
            hint="Use the weight file published for this encoder.",
        )
    try:
        encoder.load_state_dict(wanted | {name: weights[name] for name in wanted if name in weights})
    except RuntimeError as error:
        raise EncoderWeightsMismatch(str(error), hint="Use the weight file published for this encoder.") from error
