"""A pickled state dict is turned into safetensors here, in a process of its own that ends right after."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def convert(source: Path, destination: Path) -> None:
    """Write the tensors of `source` (a state dict saved by torch) to `destination` as safetensors.

    Raises ValueError for anything but a flat mapping of names to tensors; torch refuses every other pickled object.
    """
    loaded = torch.load(source, map_location="cpu", weights_only=True)  # noqa: TID251 - weights_only, separate process
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError("not a flat mapping of names to tensors")
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in loaded.items()}, destination)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
