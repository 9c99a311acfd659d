"""Where a segmentation training goes on from: its last checkpoint, or a new network on the encoder asked for."""

from typing import Any

from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.storage import checkpoints
from segsmith_shared.vision.weights import Pretrained, pretrained
from segsmith_worker.segmentation import training

EncoderFacts = dict[str, Any]
"""How the encoder began: `encoder_weights` in words, None for random values that were asked for; `encoder_stand_in`."""


def begun(
    context: StepContext, spec: SegmentationSpec, seed: int, classes: int, *, allow_stand_ins: bool
) -> tuple[training.SegmentationState, EncoderFacts]:
    """The state that `left_off` stored in the last slice, bit for bit, or a new one; and how its encoder began.

    That is settled in the first slice, whatever has been fetched since. Raises WeightsMissing where the encoder's file
    is not here and no stand-in is allowed.
    """
    digest = (context.slice_state or {}).get("checkpoint")
    if digest:
        tensors, facts = checkpoints.load(context.objects, digest)
        return training.SegmentationState.from_tensors(tensors, spec), facts["encoder"]
    given = None
    if spec.encoder_weights is not None:
        given = pretrained(context.engine, context.objects, spec.encoder_weights, allow_stand_in=allow_stand_ins)
    weights = None if given is None else given.tensors
    return training.SegmentationState.new(spec, seed, weights, classes), _encoder_facts(spec, given)


def left_off(
    context: StepContext, state: training.SegmentationState, encoder: EncoderFacts, **facts: Any
) -> dict[str, Any]:
    """The slice state to go on from."""
    manifest = {**facts, "step": state.step, "encoder": encoder}
    return {"checkpoint": checkpoints.save(context.objects, state.to_tensors(), manifest)}


def _encoder_facts(spec: SegmentationSpec, given: Pretrained | None) -> EncoderFacts:
    if spec.encoder_weights is None:
        return {"encoder_weights": None, "encoder_stand_in": False}
    if given is None:
        return {"encoder_weights": f"random, standing in for {spec.encoder_weights}", "encoder_stand_in": True}
    return {"encoder_weights": f"{given.name}, SHA-256 {given.sha256}", "encoder_stand_in": False}
