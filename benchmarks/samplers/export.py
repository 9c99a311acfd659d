"""`python -m benchmarks.samplers.export DATA FOLDER`: the averaged weights of a stack's models, for the sampler study.

Starts the servers on the data folder of a stack that is not running, and writes one safetensors file per model, its
preset in the metadata: `RECIPE-all` or `RECIPE-CLUSTER`. The study looks for `aware-cluster-…`, `aware-all` and
`plain`: rename or link what is to take part.
"""

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file
from sqlmodel import select

from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.database.tables import Model
from segsmith_shared.embedded import EmbeddedServers
from segsmith_shared.settings import Settings
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.objects import ObjectStore


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers.export", description=__doc__)
    parser.add_argument("data", type=Path, help="data folder of a stack, as given to `--data`")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with EmbeddedServers.start(arguments.data) as servers:
        given = {name.lower(): value for name, value in servers.environment.items()}
        objects = ObjectStore.from_settings(Settings.model_validate(given))
        engine = engine_for(servers.environment["DATABASE_URL"])
        with session_scope(engine) as session:
            for model in session.exec(select(Model)):
                print(_write(model, objects, arguments.folder))
        engine.dispose()


def _write(model: Model, objects: ObjectStore, folder: Path) -> Path:
    tensors, _ = checkpoints.load(objects, model.checkpoint_digest, groups=("average",))
    weights = {name.removeprefix("average."): tensor.contiguous() for name, tensor in tensors.items()}
    path = folder / f"{model.recipe}-{'all' if model.cluster is None else model.cluster}.safetensors"
    save_file(weights, path, metadata={"preset": json.dumps(model.preset)})
    return path


if __name__ == "__main__":
    main()
