"""Every knob of a segmentation training, known before it runs: the yardstick that synthetic pairs are measured with."""

from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segsmith_shared.plans.weights import ENCODERS_OF, EncoderWeights
from segsmith_shared.problems import InvalidInput, NotFound

_OVERRIDE_HINT = "See the fields and limits of SegmentationSpec."


class UnknownSegmentationPreset(NotFound):
    """No segmentation preset has this name."""

    title = "Unknown segmentation preset"


class SegmentationSpec(BaseModel):
    """One training: network, data geometry, budget in optimiser steps (equal for every arm), optimiser, augmentation.

    With `epochs` the budget is so many passes over the arm's own pairs instead, as the authors have it: arms with few
    pairs then take fewer steps. `side_px` is a multiple of 2 to the `encoder_depth`. `lr_drop_at` is the fraction of
    the steps after which `lr_after_drop` holds. `batch` images make a step, always full: short lists wrap around.
    `encoder_weights` is a pretrained file by its name; None starts the encoder at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    encoder: str
    encoder_depth: int = Field(ge=3, le=5)
    decoder_channels: tuple[int, ...]
    encoder_weights: EncoderWeights | None = None
    side_px: int = Field(ge=16, le=1024)
    steps: int = Field(ge=1, le=1_000_000)
    epochs: int | None = Field(None, ge=1, le=100_000)
    batch: int = Field(ge=2, le=1024)
    lr: float = Field(gt=0, lt=1)
    lr_after_drop: float = Field(gt=0, lt=1)
    lr_drop_at: float = Field(gt=0, le=1)
    input_statistics: Literal["imagenet", "none"]
    loss: Literal["soft-dice"] = "soft-dice"
    augment: bool = True
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    validate_every_steps: int = Field(ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.decoder_channels) != self.encoder_depth:
            raise ValueError("decoder_channels needs one entry per level of encoder_depth")
        if self.side_px % 2**self.encoder_depth:
            raise ValueError(f"side_px must be a multiple of {2**self.encoder_depth} at this encoder_depth")
        if self.encoder_weights is not None and self.encoder not in ENCODERS_OF[self.encoder_weights]:
            fitting = " or ".join(ENCODERS_OF[self.encoder_weights])
            raise ValueError(f"encoder_weights {self.encoder_weights} are for the encoder {fitting}")
        return self

    def for_pairs(self, entries: int) -> "SegmentationSpec":
        """The spec of an arm whose epoch has so many entries: with its steps, and a validation per epoch."""
        if self.epochs is None:
            return self
        steps_per_epoch = -(-entries // self.batch)
        return self.model_copy(update={"steps": self.epochs * steps_per_epoch, "validate_every_steps": steps_per_epoch})

    @property
    def lr_drop_step(self) -> int:
        """The first step trained with `lr_after_drop`."""
        return round(self.steps * self.lr_drop_at)

    def with_overrides(self, fields: dict[str, Any]) -> "SegmentationSpec":
        """The same spec with some fields replaced. Raises InvalidInput naming each field unknown or out of limits."""
        try:
            return SegmentationSpec.model_validate(self.model_dump() | fields)
        except ValidationError as error:
            wrong = [
                {"field": ".".join(map(str, each["loc"])) or "spec", "message": each["msg"]} for each in error.errors()
            ]
            raise InvalidInput(
                "; ".join(f"{each['field']}: {each['message']}" for each in wrong), hint=_OVERRIDE_HINT, errors=wrong
            ) from error


SEGMENTATION_PRESETS = MappingProxyType(
    {
        spec.preset: spec
        for spec in (
            SegmentationSpec(
                preset="tiny-cpu",
                encoder="tu-mobilenetv3_small_050",
                encoder_depth=3,
                decoder_channels=(32, 16, 8),
                side_px=48,
                steps=160,
                batch=8,
                lr=3e-3,
                lr_after_drop=3e-4,
                lr_drop_at=0.7,
                input_statistics="imagenet",
                validate_every_steps=20,
            ),
            SegmentationSpec(
                preset="small-64",
                encoder="tu-resnet18",
                encoder_depth=4,
                decoder_channels=(96, 64, 32, 16),
                side_px=64,
                steps=600,
                batch=16,
                lr=1e-3,
                lr_after_drop=1e-4,
                lr_drop_at=0.6,
                input_statistics="imagenet",
                validate_every_steps=50,
            ),
            SegmentationSpec(
                preset="paper-256",
                encoder="se_resnext50_32x4d",
                encoder_weights="se-resnext50-imagenet",
                encoder_depth=5,
                decoder_channels=(256, 128, 64, 32, 16),
                side_px=256,
                steps=2700,  # 150 epochs of the 80 % of 348 in batches of 16
                batch=16,
                lr=1e-4,
                lr_after_drop=1e-5,
                lr_drop_at=1 / 3,
                input_statistics="imagenet",
                validate_every_steps=18,
            ),
        )
    }
)


def preset_at(side_px: int) -> tuple[str, dict[str, Any]]:
    """The name of the largest preset up to this side, or of the smallest, and the override that sets the side.

    Pictures that were drawn at this side are then neither enlarged nor reduced.
    """
    below = [spec for spec in SEGMENTATION_PRESETS.values() if spec.side_px <= side_px]
    chosen = max(below, key=lambda spec: spec.side_px, default=min(SEGMENTATION_PRESETS.values(), key=_side_px))
    return chosen.preset, {} if chosen.side_px == side_px else {"side_px": side_px}


def _side_px(spec: SegmentationSpec) -> int:
    return spec.side_px


def preset_named(name: str) -> SegmentationSpec:
    """The preset of this name. Raises UnknownSegmentationPreset listing the names there are."""
    if name not in SEGMENTATION_PRESETS:
        raise UnknownSegmentationPreset(
            f"There is no segmentation preset {name!r}.", hint=f"Choose one of {', '.join(SEGMENTATION_PRESETS)}."
        )
    return SEGMENTATION_PRESETS[name]
