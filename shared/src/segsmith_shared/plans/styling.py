"""Every knob of styling (science §5), known before it runs: what pulls at a sample, how hard, and what it will cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segsmith_shared.plans.presets import Preset, Procedure
from segsmith_shared.problems import InvalidInput

PROCEDURE_STYLING: dict[Any, dict[str, Any]] = {
    "authors": {
        "l2_region": "all",
        "vgg_input": "signed",
        "weights_scale_with_area": False,
        "clip_denoised": False,
        "colour_range": "stretch",
        "label": "styled",
        "opening_px": 16,
        "opening_kernel": "even",
    },
    "corrected": {
        "l2_region": "kept",
        "vgg_input": "unit",
        "weights_scale_with_area": True,
        "clip_denoised": True,
        "colour_range": "clip",
        "label": "inpainted",
        "opening_px": 15,
        "opening_kernel": "odd",
    },
}
"""What each procedure fixes (science §5; clipping and opening as in §4.5 and §4.9); both share every other field."""


class StylingOverrideRejected(InvalidInput):
    """An override names no field of styling, or gives a value beyond its limits."""

    title = "Styling cannot be changed in this way"


class ModelCannotStyle(InvalidInput):
    """The model was not trained for what styling asks of it."""

    title = "The model cannot style in this way"


class StylingSpec(BaseModel):
    """One way of styling. `StylingSpec()` is the corrected procedure; a `procedure` fills in the fields not given.

    Weights multiply one term each, taken per sample and summed over the batch. A weight of 0 leaves its term out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    procedure: Procedure = "corrected"
    respaced_steps: int = Field(200, ge=2, le=4000, description="noise levels kept of the model's process")
    skipped_steps: int = Field(80, ge=0, le=3999, description="noisiest levels left out: styling starts below them")
    start: Literal["q_sample", "ddim_inversion"] = Field(
        "q_sample", description="the content with fresh noise, or with the noise that leads back to it"
    )
    extent: Literal["auto", "picture", "region"] = Field(
        "auto", description="what is drawn anew; auto is the region for inpainting-aware models, else the whole picture"
    )
    noise_augmented: bool = Field(True, description="compare √(1−ᾱ)·x̂₀ + (1−√(1−ᾱ))·x instead of x̂₀")
    style_network: Literal["dino-vit-b8", "dino-vit-s8"] = "dino-vit-b8"
    style_side_px: int = Field(224, ge=16, le=1024, multiple_of=8, description="what the style network sees")
    style_weight: float = Field(10_000, ge=0, le=1e7)
    divergence_weight: float = Field(40_000, ge=0, le=1e7)
    l2_weight: float = Field(10_000, ge=0, le=1e7)
    range_weight: float = Field(200, ge=0, le=1e7)
    zecon_weight: float = Field(500, ge=0, le=1e7)
    vgg_weight: float = Field(100, ge=0, le=1e7)
    mse_weight: float = Field(5_000, ge=0, le=1e7)
    weights_scale_with_area: bool = Field(
        True, description="weights are meant at 256 px and shrink with the area, as each pixel's share of a mean grows"
    )
    divergence_until: int = Field(100, ge=0, le=4000, description="semantic divergence at respaced indices above this")
    l2_region: Literal["all", "kept"] = Field(
        "kept", description="kept: outside the redraw region, so that the lesion is free"
    )
    zecon_stages: int = Field(5, ge=1, le=16, description="encoder stages compared: entrance, then each level's last")
    zecon_positions: int = Field(256, ge=2, le=65_536, description="positions per stage and sample, drawn by the seed")
    zecon_temperature: float = Field(0.07, gt=0, le=10)
    zecon_features: Literal["x_in", "x_t"] = Field(
        "x_in", description="x_t: features of the step's own evaluation, an encoder pass with its gradient cheaper"
    )
    vgg_input: Literal["unit", "signed"] = Field(
        "unit", description="range given to ImageNet's statistics: 0..1 or −1..1"
    )
    vgg_below_t: int | None = Field(None, ge=0, le=4000, description="VGG only below this t of the original chain")
    mse_below_t: int | None = Field(None, ge=0, le=4000, description="MSE only below this t of the original chain")
    clip_denoised: bool = Field(
        True, description="x̂₀ within −1..1 in each step and its result; the losses see it unclipped"
    )
    colour_matching: Literal["mkl", "none"] = "mkl"
    colour_range: Literal["clip", "stretch"] = Field("clip", description="how mapped colours return to 0..1")
    colour: Literal["rgb", "grey"] = Field("rgb", description="grey makes the three channels equal")
    label: Literal["inpainted", "styled"] = Field("inpainted", description="which mask becomes the label")
    opening_px: int = Field(15, ge=0, le=64, description="of a styled label, at 256 px")
    opening_kernel: Literal["even", "odd"] = "odd"
    paste_known: bool = Field(False, description="put the content back outside the redraw region, bit-equal")
    batch: int = Field(8, ge=1, le=1024)
    precision: Literal["auto", "float32"] = Field(
        "auto", description="auto is bfloat16 where the device computes in it"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_procedure(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {**PROCEDURE_STYLING.get(given.get("procedure", "corrected"), {}), **given}

    @model_validator(mode="after")
    def _some_steps_remain(self) -> Self:
        if self.skipped_steps >= self.respaced_steps:
            raise ValueError("skipped_steps must be less than respaced_steps")
        return self

    @property
    def guided_steps(self) -> int:
        return self.respaced_steps - self.skipped_steps

    @property
    def start_index(self) -> int:
        """The respaced index of the first guided step; the last one is 0."""
        return self.guided_steps - 1

    def with_overrides(self, overrides: Mapping[str, Any]) -> "StylingSpec":
        """The same spec with fields replaced; a `procedure` sets its own fields first, and those beside it win.

        Raises `StylingOverrideRejected` naming each field that is unknown or out of limits.
        """
        procedure = PROCEDURE_STYLING.get(overrides.get("procedure"), {})
        try:
            return StylingSpec.model_validate({**self.model_dump(), **procedure, **overrides})
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, each['loc'])) or 'styling'}: {each['msg']}" for each in error.errors()]
            raise StylingOverrideRejected(
                f"Styling does not take this: {'; '.join(faults)}.", hint="See the fields and limits of StylingSpec."
            ) from error


@dataclass(frozen=True)
class StylingCost:
    """U-Net evaluations of one picture each, and gradients through them; a batch filled up costs its whole size.

    `encoder_passes` through the U-Net's first third are on top, as are the passes through the style and texture towers.
    """

    samples: int
    forwards_per_sample: int
    backwards_per_sample: int
    encoder_passes_per_sample: int
    forwards: int
    backwards: int


def styling_cost(spec: StylingSpec, samples: int) -> StylingCost:
    """The cost of styling so many samples with one model."""
    steps = spec.guided_steps
    inversion = steps - 1 if spec.start == "ddim_inversion" else 0
    each_step = (2 if spec.zecon_features == "x_in" else 1) if spec.zecon_weight else 0
    filled = -(-samples // spec.batch) * spec.batch
    return StylingCost(
        samples=samples,
        forwards_per_sample=steps + inversion,
        backwards_per_sample=steps,
        encoder_passes_per_sample=steps * each_step,
        forwards=filled * (steps + inversion),
        backwards=filled * steps,
    )


def check_styling(spec: StylingSpec, preset: Preset) -> None:
    """Raises `ModelCannotStyle` where a model of this preset cannot do what the spec asks for."""
    diffusion, training = preset.diffusion, preset.training
    if spec.extent == "picture" and training.inpainting_aware and training.region_full_share == 0:
        raise ModelCannotStyle(
            "The model draws inside regions only: it never saw a whole-picture region in training.",
            hint="Choose extent region, or train with region_full_share above 0.",
        )
    if diffusion.schedule == "linear" and spec.respaced_steps > diffusion.timesteps:
        raise ModelCannotStyle(
            f"The model has {diffusion.timesteps} noise levels, fewer than respaced_steps {spec.respaced_steps}.",
            hint="Lower respaced_steps, and skipped_steps with it.",
        )


def styled_name(recipe: str) -> str:
    """The recipe of the styled sets: Styled-Diff of Diff, Full-Styled-Diff of Full-Diff, as the paper names them."""
    full = "Full-"
    return f"{full}Styled-{recipe.removeprefix(full)}" if recipe.startswith(full) else f"Styled-{recipe}"
