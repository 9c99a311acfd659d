"""`segsmith models`: diffusion models, trained here or brought from elsewhere."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, cast
from uuid import UUID

import typer

from segsmith.command.importing import send_archive, wait_for
from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import fields, moment, table
from segsmith.packing import ArchiveFile
from segsmith.values import Job, Model
from segsmith_shared.plans.specs import ModelImport
from segsmith_shared.problems import InvalidInput

app = application("Look at diffusion models and bring in your own.")


@command(app, "list")
def list_(here: Invocation, limit: Annotated[int, typer.Option(min=1)] = 50) -> Shown:
    """Models, newest first."""
    found = list(islice(here.client.models.list(), limit))
    rows = [
        (m.id, m.recipe, m.cluster, m.preset.get("name"), m.weights, m.images_seen, moment(m.created_at)) for m in found
    ]
    return Shown(found, table(("model", "recipe", ">cluster", "preset", "weights", ">images seen", "created"), rows))


@command(app, "show")
def show(here: Invocation, model: Annotated[UUID, typer.Argument(help="Id of a model.")]) -> Shown:
    """A model and the network it has."""
    found = here.client.models.get(model)
    return Shown(found, fields(_told(found)))


@command(app, "import")
def import_(
    here: Invocation,
    file: Annotated[Path | None, typer.Argument(help="A guided-diffusion checkpoint (.pt or .safetensors).")] = None,
    pretrained: Annotated[str | None, typer.Option(help="Instead of a file: guided-diffusion-256.")] = None,
    weights: Annotated[str | None, typer.Option(help="ema or raw; told by the file's name unless given.")] = None,
    cluster: Annotated[int | None, typer.Option(min=0, help="Whose pairs it learned; told by the name.")] = None,
    images_seen: Annotated[int | None, typer.Option(min=0, help="In its training; told by the name.")] = None,
    side: Annotated[int, typer.Option(min=16, max=512, help="Pixels on each side of its pictures.")] = 256,
) -> Shown:
    """Make a model of a checkpoint, e.g. the authors' cluster_3_model_110000.pt; it can draw at once."""
    if (file is None) == (pretrained is None):
        raise InvalidInput("Give either a file or --pretrained.")
    if weights not in {None, "ema", "raw"}:
        raise InvalidInput(f"--weights is ema or raw, not {weights!r}.")
    kind = cast("Literal['ema', 'raw'] | None", weights)
    told = ModelImport(weights=kind, cluster=cluster, images_seen=images_seen, side_px=side)
    job = here.client.models.create(pretrained, told) if pretrained else _sent(here, file or Path(), told)
    model = here.client.models.get(wait_for(here, job).outputs["model_id"])
    words = f"Model {model.id}\nDraw with it: segsmith run FOLDER --model {model.id}"
    return Shown(model, words)


def _sent(here: Invocation, file: Path, told: ModelImport) -> Job:
    archive = ArchiveFile(file)
    upload = here.client.uploads.begin(None, archive)
    return here.client.uploads.close_model(upload, send_archive(here, upload, archive), told)


def _told(model: Model) -> dict[str, object]:
    network = model.preset.get("network", {})
    return {
        "model": model.id,
        "recipe": model.recipe,
        "cluster": model.cluster,
        "preset": model.preset.get("name"),
        "side in px": network.get("side_px"),
        "attention at px": ", ".join(map(str, network.get("attention_sides_px", ()))),
        "weights": model.weights,
        "images seen": model.images_seen or "unknown",
        "training pairs": model.training_images or "unknown",
        "created": moment(model.created_at),
    }
