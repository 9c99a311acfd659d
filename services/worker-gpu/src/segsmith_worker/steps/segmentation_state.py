"""Where a segmentation training goes on from: its last checkpoint, or a new network on the encoder asked for."""

from pathlib import Path
from typing import Any

from torch import Tensor

from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.storage import checkpoints
from segsmith_shared.vision.weights import WeightsMissing, read_weights, verify_weights
from segsmith_worker.segmentation import training


def begun(context: StepContext, spec: SegmentationSpec, seed: int) -> training.SegmentationState:
    """The state that `left_off` stored in the last slice, bit for bit; a new one at the beginning."""
    digest = (context.slice_state or {}).get("checkpoint")
    if digest:
        tensors, _ = checkpoints.load(context.objects, digest)
        return training.SegmentationState.from_tensors(tensors, spec)
    return training.SegmentationState.new(spec, seed, _encoder_weights(spec, context.settings.weights_dir))


def left_off(context: StepContext, state: training.SegmentationState, **facts: Any) -> dict[str, Any]:
    """The slice state to go on from."""
    return {"checkpoint": checkpoints.save(context.objects, state.to_tensors(), {**facts, "step": state.step})}


def _encoder_weights(spec: SegmentationSpec, folder: Path | None) -> dict[str, Tensor] | None:
    """The pretrained encoder the spec pins, verified; None trains the encoder from scratch."""
    if spec.encoder_weights is None:
        return None
    if folder is None:
        raise WeightsMissing(
            f"The encoder weights {spec.encoder_weights.file_name} are asked for, and no weights folder is set.",
            hint="Set WEIGHTS_DIR, or leave encoder_weights out.",
        )
    return read_weights(verify_weights(folder / spec.encoder_weights.file_name, spec.encoder_weights.sha256))
