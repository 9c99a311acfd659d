"""`segsmith preset`: the sizes and procedures to choose from. Needs no server."""

from typing import Annotated, Any

import typer

from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import fields, table
from segsmith_shared.plans.presets import PRESETS, preset_named
from segsmith_shared.plans.sampler_budget import propose_samplers

app = application("Look at the presets and their fields.")


@command(app, "list", online=False)
def list_(_here: Invocation) -> Shown:
    """All presets."""
    rows = [
        (p.name, p.procedure, f"{p.network.side_px} px", p.training.images_total, p.training.recipe, p.sampling.sampler)
        for p in PRESETS.values()
    ]
    return Shown(list(PRESETS.values()), table(("preset", "procedure", ">side", ">images", "recipe", "sampler"), rows))


@command(app, "show", online=False)
def show(_here: Invocation, name: Annotated[str, typer.Argument()]) -> Shown:
    """Every field of a preset, under the name that `run --set` takes."""
    document = preset_named(name).model_dump(mode="json")
    return Shown(document, fields(_dotted(document)))


@command(app, "budget", online=False)
def budget(
    _here: Invocation,
    name: Annotated[str, typer.Argument()],
    evaluations: Annotated[int, typer.Argument(help="U-Net evaluations per sample, at most.")],
) -> Shown:
    """Which sampler to ask for, with so many evaluations to spend."""
    proposals = propose_samplers(preset_named(name), evaluations)
    rows = [
        (each.evaluations, " ".join(f"--set {field}={value}" for field, value in each.overrides.items()), each.why)
        for each in proposals
    ]
    return Shown(proposals, table((">evaluations", "ask for", "why"), rows))


def _dotted(document: dict[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in document.items():
        flat |= (
            {f"{name}.{field}": inner for field, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    return flat
