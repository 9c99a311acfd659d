"""What the study reads: pairs from a folder by their lists of names, and trained models from safetensors files."""

import json
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from segsmith_shared.pairs.checking import CheckedPair, CheckOptions, check_folder
from segsmith_shared.pairs.geometry import to_model_arrays
from segsmith_shared.pairs.pair import Pair
from segsmith_shared.plans.presets import Preset
from segsmith_shared.storage.pair_arrays import read_label
from segsmith_worker.diffusion.model import DiffusionModel

Squares = NDArray[np.uint8]


@dataclass(frozen=True)
class PairList:
    """uint8 (n, 4, side, side) in the order of `names`."""

    names: list[str]
    squares: Squares


@dataclass(frozen=True)
class TrainedModel:
    """A model and the digest of its file."""

    model: DiffusionModel
    digest: str


def read_pairs(folder: Path, ids_file: Path, side_px: int) -> PairList:
    """The pairs of a folder whose names a file lists, one per line, squashed to the side as the product does."""
    found: list[tuple[str, Squares]] = []

    def take(pair: CheckedPair) -> None:
        image = np.array(Image.open(BytesIO(pair.encoded.image_png)).convert("RGB"))
        label = read_label(pair.encoded.label_png)
        found.append((pair.name, to_model_arrays(Pair(pair.name, image, label), side_px)))

    check_folder(folder, CheckOptions(ids=ids_file.read_text().split()), on_pair=take, workers=1)
    return PairList([name for name, _ in found], np.stack([square for _, square in found]))


def read_models(folder: Path, prefix: str) -> list[TrainedModel]:
    """The models whose file names begin so, by name. Raises SystemExit where there is none."""
    paths = sorted(folder.glob(f"{prefix}*.safetensors"))
    if not paths:
        raise SystemExit(f"{folder} holds no {prefix}*.safetensors.")
    return [read_model(path) for path in paths]


def read_model(path: Path) -> TrainedModel:
    """A file that `benchmarks.samplers.train` or `.export` wrote."""
    with safe_open(path, "pt") as file:
        preset = Preset.model_validate(json.loads(file.metadata()["preset"]))
    model = DiffusionModel.from_tensors(preset, load_file(path))
    return TrainedModel(model, sha256(path.read_bytes()).hexdigest())
