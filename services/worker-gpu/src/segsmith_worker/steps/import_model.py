"""The import of a trained model: a guided-diffusion checkpoint becomes one of ours, to draw with or to train from."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file
from torch import Tensor

from segsmith_shared.database.tables import Model
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.plans.presets import Preset
from segsmith_shared.plans.specs import ImportModelSpec
from segsmith_shared.plans.weights import PRETRAINED
from segsmith_shared.storage import checkpoints
from segsmith_shared.vision.weights import convert_weights, pretrained
from segsmith_worker.diffusion.import_guided import ToldByName, preset_for, told_by_name, widened
from segsmith_worker.steps.uploaded import StopAsked, fetched

RECIPE = "imported"


def run(context: StepContext) -> Outcome:
    """One slice: read in a limited process, recognise, widen where there is no label channel, store."""
    spec = ImportModelSpec.model_validate(context.spec)
    try:
        if spec.pretrained:
            file_name = PRETRAINED[spec.pretrained].file_name
            given = pretrained(context.engine, context.objects, spec.pretrained).tensors
        else:
            file_name, given = _uploaded(context, spec)
    except StopAsked:
        return Stopped(state={})
    tensors = {name: tensor.float() for name, tensor in widened(given).items()}
    preset = preset_for(tensors, side_px=spec.told.side_px)
    model = _model(context, spec, told_by_name(file_name), preset, file_name, tensors)
    outputs = {
        "model_id": str(model.id),
        "preset": preset.name,
        "attention_sides_px": list(preset.network.attention_sides_px),
        "channels_given": given["input_blocks.0.0.weight"].shape[1],
        "weights": model.weights,
        "cluster": model.cluster,
        "images_seen": model.images_seen,
    }
    return Finished(outputs=outputs, rows=[model])


def _uploaded(context: StepContext, spec: ImportModelSpec) -> tuple[str, Mapping[str, Tensor]]:
    if spec.upload_id is None:
        raise ValueError("an import without upload names a pretrained file")
    with TemporaryDirectory(prefix="segsmith-model-") as name:
        file, converted = Path(name) / "checkpoint", Path(name) / "checkpoint.safetensors"
        upload = fetched(context, spec.upload_id, file)
        convert_weights(file, converted)
        return upload.filename, load_file(converted)  # mapped: the pages outlive the name


def _model(
    context: StepContext,
    spec: ImportModelSpec,
    by_name: ToldByName,
    preset: Preset,
    file_name: str,
    tensors: dict[str, Tensor],
) -> Model:
    """The row, its checkpoint stored: in the group that generation reads, whichever kind of weights they are."""
    told, document = spec.told, preset.model_dump(mode="json")
    weights = told.weights or by_name.weights
    cluster = by_name.cluster if told.cluster is None else told.cluster
    images_seen = (by_name.steps or 0) * preset.training.batch if told.images_seen is None else told.images_seen
    facts = {
        "kind": RECIPE,
        "file_name": file_name,
        "weights": weights,
        "cluster": cluster,
        "images_seen": images_seen,
        "preset": document,
    }
    prefixed = {f"average.{name}": tensor for name, tensor in tensors.items()}
    return Model(
        job_id=context.job_id,
        recipe=RECIPE,
        cluster=cluster,
        preset=document,
        images_seen=images_seen,
        training_images=0,
        weights=weights,
        checkpoint_digest=checkpoints.save(context.objects, prefixed, facts),
    )
