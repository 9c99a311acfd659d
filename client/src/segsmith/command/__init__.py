"""The `segsmith` command."""

import typer

from segsmith.command import dataset, job, key, models, pipeline, preset, run, sets, version, weights
from segsmith.command.invocation import application, replace_what_cannot_be_shown

app = application("Synthetic labelled images for medical segmentation, from a folder of image-mask pairs.")
run.register(app)
pipeline.register_watch(app)
for name, rooms in {
    "dataset": dataset.app,
    "pipeline": pipeline.app,
    "job": job.app,
    "set": sets.app,
    "models": models.app,
    "weights": weights.app,
    "preset": preset.app,
    "key": key.app,
}.items():
    app.add_typer(rooms, name=name)
version.register(app)


def main() -> None:
    """Entry point of the installed command."""
    replace_what_cannot_be_shown()
    app(prog_name="segsmith")


__all__ = ["app", "main", "typer"]
