"""`python -m benchmarks.samplers.train PAIRS --ids FILE MODEL FOLDER`: one of the study's models, without a stack.

`plain` is the paper's way at the size of `small-64`: unconditional, ε with learned variance. `aware-all` is
`small-64` itself, one model of all pairs. Both see as many images. `--set FIELD=VALUE` changes training fields. Cut at
any time it goes on from its newest checkpoint, to the same weights bit by bit.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.samplers.material import read_pairs
from segsmith_shared.plans.presets import PRESETS, UNAWARE_TRAINING, Preset
from segsmith_shared.randomness import seed_for
from segsmith_worker.diffusion.training import StepReport, TrainingState, train

IMAGES_TOTAL = 64_000
CHECKPOINT_EVERY_SECONDS = 120.0


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    preset = _preset(arguments.model, dict(each.split("=", 1) for each in arguments.set))
    pairs = read_pairs(arguments.pairs, arguments.ids, preset.network.side_px)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    name = arguments.name or arguments.model
    checkpoint = arguments.folder / f"{name}.checkpoint"
    seed = seed_for(arguments.seed, "sampler-study-model")
    if checkpoint.exists():
        state = TrainingState.from_tensors(preset, load_file(checkpoint))
    else:
        state = TrainingState.start(preset, seed)
    until, losses, saved = preset.training.images_total, list[float](), time.monotonic()

    def on_step(report: StepReport) -> None:
        nonlocal saved
        losses.append(report.loss)
        if time.monotonic() - saved < CHECKPOINT_EVERY_SECONDS:
            return
        _replace(checkpoint, state.to_tensors())
        print(f"{name}: {report.images_seen} of {until} images, loss {sum(losses) / len(losses):.4f}", flush=True)
        losses.clear()
        saved = time.monotonic()

    train(state, torch.from_numpy(pairs.squares), preset, seed=seed, until_images_seen=until, on_step=on_step)
    weights = {key: value.contiguous() for key, value in state.average.state_dict().items()}
    _replace(arguments.folder / f"{name}.safetensors", weights, {"preset": json.dumps(preset.model_dump(mode="json"))})
    checkpoint.unlink(missing_ok=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers.train", description=__doc__)
    parser.add_argument("pairs", type=Path, help="folder of real pairs, in any layout that an import knows")
    parser.add_argument("--ids", type=Path, required=True, help="names of the pairs to train on")
    parser.add_argument("model", choices=("plain", "aware-all"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", help="file name of the model (default: that of the model)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _preset(model: str, changed: dict[str, str]) -> Preset:
    small, paper = PRESETS["small-64"], PRESETS["paper-256-2023"]
    training: dict[str, Any] = {"images_total": IMAGES_TOTAL, "warm_start_images": 0}
    overrides: dict[str, Any] = {"training": training | {key: json.loads(value) for key, value in changed.items()}}
    if model == "plain":
        overrides["training"] = UNAWARE_TRAINING | overrides["training"]
        overrides |= {"diffusion": paper.diffusion.model_dump(), "sampling": paper.sampling.model_dump()}
    return small.with_overrides(overrides)


def _replace(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata=metadata)
    part.replace(path)


if __name__ == "__main__":
    main()
