"""A stranger's weight file becomes safetensors here: in a limited process without secrets, which ends right after."""

import resource
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segsmith_shared.pairs.limited import serve

_SPARE_BYTES = 2**30
_FIRST_BRACE = 8
"""A safetensors file is eight bytes of length, then JSON."""


def convert(source: Path, destination: Path, keep: tuple[str, ...], drop: tuple[str, ...]) -> int:
    """Write the tensors of `source` whose names begin as in `keep`, and not as in `drop`, as safetensors.

    Returns how many. `source` is safetensors or a state dict saved by torch; ValueError for anything but a flat
    mapping of names to dense, finite tensors that fit into the file; torch refuses every other pickled object.
    """
    size_bytes = source.stat().st_size
    loaded = _loaded(source, size_bytes)
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise ValueError("not a flat mapping of names to tensors")
    tensors = {name: value for name, value in loaded.items() if name.startswith(keep) and not name.startswith(drop)}
    _check(tensors, size_bytes)
    save_file({name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()},
              destination)  # fmt: skip
    return len(tensors)


def _loaded(source: Path, size_bytes: int) -> Any:
    with source.open("rb") as stream:
        begins = stream.read(_FIRST_BRACE + 1)
    if begins[_FIRST_BRACE:] == b"{":
        return load_file(source)
    mapped = zipfile.is_zipfile(source)
    if mapped:
        _check_entries(source, size_bytes)
    return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)  # noqa: TID251 - weights_only, separate process


def _check_entries(source: Path, size_bytes: int) -> None:
    """torch stores its entries as they are; compressed ones could grow to anything."""
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed, which torch never does")
    if sum(entry.file_size for entry in entries) > size_bytes:
        raise ValueError("its entries claim more bytes than it has")


def _check(tensors: Mapping[str, Tensor], size_bytes: int) -> None:
    if not tensors:
        raise ValueError("it holds none of the tensors that are wanted")
    if any(tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta for tensor in tensors.values()):
        raise ValueError("a tensor is sparse, quantised or without values")
    claimed_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed_bytes > size_bytes:  # a single number can be viewed as terabytes
        raise ValueError(f"its tensors claim {claimed_bytes} bytes, and the file has {size_bytes}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")


def _limit_memory(size_bytes: int) -> None:
    """From here on three times the file and a gibibyte: torch itself already maps more than the files it reads."""
    with Path("/proc/self/statm").open() as statm:
        mapped_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    bound = mapped_bytes + 3 * size_bytes + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _answer(request: dict[str, Any], _note: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], list[bytes]]:
    source = Path(request["source"])
    _limit_memory(source.stat().st_size)
    try:
        count = convert(source, Path(request["destination"]), tuple(request["keep"]), tuple(request["drop"]))
    except Exception as error:  # noqa: BLE001 - whatever a stranger's file makes torch raise is what the person is told
        return {"problem": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:400]}"}, []
    return {"tensors": count}, []


if __name__ == "__main__":
    serve(_answer)
