"""`python -m benchmarks.samplers`: which sampler is worth its evaluations, on pairs and models of your own.

Draws one set per row and seed from the same sources, measures each against held-out real pairs, trains one small
segmentation network on each, and writes `table.md`, `table.json` and contact sheets. Cut at any time it goes on at the
next batch: what lies in the output folder is not made again. Cheap rows come first. The figures are of one machine's
models; with built-in features KID and FID compare rows of one table only.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.samplers import scoring, table
from benchmarks.samplers.drawing import DrawnSet, draw_set, regions_of, set_folder
from benchmarks.samplers.material import PairList, TrainedModel, read_models, read_pairs
from benchmarks.samplers.rows import Row, rows_named
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import (
    BuiltInExtractor,
    FeatureExtractor,
    InceptionExtractor,
    RememberingExtractor,
)
from segsmith_shared.vision.weights import sha256_of
from segsmith_worker.segmentation import models as segmentation_models
from segsmith_worker.segmentation.arms import Pairs


@dataclass(frozen=True)
class Study:
    """Everything the sets have in common."""

    output: Path
    sources: PairList
    yardstick: scoring.Yardstick
    models: dict[str, list[TrainedModel]]

    def models_of(self, row: Row) -> list[TrainedModel]:
        return self.models[row.models] if row.models else []

    def evaluations(self, row: Row) -> float:
        models = self.models_of(row)
        return row.evaluations(models[0].model.preset if models else None)

    def folder(self, row: Row, seed: int) -> Path:
        return set_folder(self.output, row, seed, self.sources, self.models_of(row))

    def drawn(self, row: Row, seed: int) -> DrawnSet:
        return draw_set(row, seed, self.sources, self.models_of(row), self.folder(row, seed), _tell)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    rows, seeds = rows_named(arguments.rows, arguments.precision), range(1, arguments.seeds + 1)
    study = _study(arguments, rows)
    for seed in seeds:
        for row in sorted(rows, key=study.evaluations):
            _measure(study, row, seed)
            _write_table(study, rows, seeds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("pairs", type=Path, help="folder of real pairs, in any layout that an import knows")
    parser.add_argument("--train-ids", type=Path, required=True, help="names of the pairs the models were trained on")
    parser.add_argument("--test-ids", type=Path, required=True, help="names of held-out pairs")
    parser.add_argument("--models", type=Path, required=True, help="folder that benchmarks.samplers.export filled")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sources", type=int, default=64, help="how many training pairs are redrawn (default 64)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", help="names, separated by commas (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of the networks")
    parser.add_argument("--inception", type=Path, help="FID-Inception as safetensors; without, built-in features")
    return parser.parse_args()


def _study(arguments: argparse.Namespace, rows: Sequence[Row]) -> Study:
    groups = sorted({row.models for row in rows if row.models})
    models = {group: read_models(arguments.models, group) for group in groups}
    side_px = (next(iter(models.values())) if models else read_models(arguments.models, ""))[0].model.side_px
    everything = read_pairs(arguments.pairs, arguments.train_ids, side_px)
    held_out = read_pairs(arguments.pairs, arguments.test_ids, side_px)
    drawn = numpy_generator_for(1, "sampler-study-sources").permutation(len(everything.names))[: arguments.sources]
    places = sorted(int(at) for at in drawn)
    sources = PairList([everything.names[at] for at in places], everything.squares[places])
    arguments.output.mkdir(parents=True, exist_ok=True)
    yardstick = scoring.Yardstick(
        held_out,
        regions_of(held_out.squares),
        RememberingExtractor(_extractor(arguments.inception)),
        _referee(arguments.output / "referee.safetensors", everything),
    )
    return Study(arguments.output, sources, yardstick, models)


def _extractor(file: Path | None) -> FeatureExtractor:
    return BuiltInExtractor() if file is None else InceptionExtractor.from_tensors(load_file(file), sha256_of(file))


def _referee(path: Path, real: PairList) -> torch.nn.Module:
    """The small network trained on all real training pairs, kept between runs."""
    side_px = real.squares.shape[-1]
    if not path.exists():
        images = np.ascontiguousarray(real.squares[:, :3].transpose(0, 2, 3, 1))
        network = scoring.trained_segmentation(
            Pairs(images, (real.squares[:, 3] >= 128).astype(np.uint8), real.names, real.names), side_px, seed=1
        )
        save_file(network.state_dict(), path)
    network = segmentation_models.build(scoring.segmentation_spec(side_px), 1)
    network.load_state_dict(load_file(path))
    return network.eval()


def _measure(study: Study, row: Row, seed: int) -> None:
    """Draw and score one set unless its result lies there."""
    result = study.folder(row, seed) / "result.json"
    if result.exists():
        return
    drawn = study.drawn(row, seed)
    figures = scoring.figures_of(drawn, study.sources, study.yardstick, seed)
    figures["learner"] = scoring.dice_of_learner(drawn, study.sources, study.yardstick, seed)
    (result.parent / "sheet.png").write_bytes(table.contact_sheet(drawn, study.sources))
    (result.parent / "sheet-large.png").write_bytes(table.contact_sheet(drawn, study.sources, largest=True))
    result.write_text(json.dumps(figures, indent=1) + "\n")
    _tell(f"{row.name}, seed {seed}: done")


def _write_table(study: Study, rows: Sequence[Row], seeds: Sequence[int]) -> None:
    documents: list[dict[str, Any]] = []
    for row in rows:
        done = [seed for seed in seeds if (study.folder(row, seed) / "result.json").exists()]
        if not done:
            continue
        documents.append(
            {
                "row": row.name,
                "what": row.what,
                "evaluations": study.evaluations(row),
                "seeds": [json.loads((study.folder(row, seed) / "result.json").read_text()) for seed in done],
                "diversity": scoring.diversity([study.drawn(row, seed) for seed in done]) if row.models else {},
            }
        )
    (study.output / "table.json").write_text(json.dumps(documents, indent=1) + "\n")
    (study.output / "table.md").write_text(table.markdown(documents))


def _tell(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    main()
