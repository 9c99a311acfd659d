"""Weights come from files strangers made: converted in a process of their own, stored once, verified at every read."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import overload

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from sqlalchemy import Engine
from torch import Tensor

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.weights import stored_weights
from segsmith_shared.pairs.limited import ChildDied, LimitedProcess, ProcessLimits
from segsmith_shared.plans.weights import WeightsCorrupt, missing_weights, weights_named
from segsmith_shared.storage.objects import ObjectStore

CPU_SECONDS, CLOCK_SECONDS = 600.0, 1800.0
CONVERTER = "segsmith_shared.vision.convert_weights"
NOTHING_RAN = "Only plain mappings of names to tensors are read; nothing in the file was run."

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor name -> its shape."""


def convert_weights(
    source: Path, destination: Path, *, keep: tuple[str, ...] = ("",), drop: tuple[str, ...] = ()
) -> Shapes:
    """Write the wanted tensors of an untrusted `.pt`, `.pth` or `.safetensors` file as safetensors; their shapes.

    A limited process reads it: memory by the size of the file, time, no secrets. Raises WeightsCorrupt.
    """
    # the reader tightens its own memory, as only it knows what torch has mapped; file and headers are all it writes
    limits = ProcessLimits(2**50, CPU_SECONDS, CLOCK_SECONDS, file_bytes=source.stat().st_size + 2**24)
    request = {"source": str(source), "destination": str(destination), "keep": keep, "drop": drop}
    with LimitedProcess(CONVERTER, limits) as child:
        try:
            head, _ = child.ask(request)
        except ChildDied as death:
            raise WeightsCorrupt(f"The process that read the file {death}", hint=NOTHING_RAN) from death
    if "problem" in head:
        raise WeightsCorrupt(f"The file holds something other than tensors: {head['problem']}", hint=NOTHING_RAN)
    return shapes_in(destination)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in blocks."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def shapes_in(file: Path) -> Shapes:
    """Names and shapes in a safetensors file; no tensor is read. Raises WeightsCorrupt."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise WeightsCorrupt(f"The file is no safetensors file: {error}") from error


@dataclass(frozen=True)
class Pretrained:
    """A pretrained file in memory: its tensors by name, on the CPU, and the SHA-256 of the published original."""

    name: str
    sha256: str
    tensors: Mapping[str, Tensor]


@overload
def pretrained(engine: Engine, objects: ObjectStore, name: str) -> Pretrained: ...


@overload
def pretrained(engine: Engine, objects: ObjectStore, name: str, *, allow_stand_in: bool) -> Pretrained | None: ...


def pretrained(engine: Engine, objects: ObjectStore, name: str, *, allow_stand_in: bool = False) -> Pretrained | None:
    """The registry's file `name`, its bytes compared with their digest; None where it is missing and need not be there.

    Raises UnknownWeights, WeightsMissing with the command that fetches it, and ObjectMissing, ObjectCorrupt or
    WeightsCorrupt for a stored file that is lost or damaged: nothing stands in for that, as silence would change what
    every figure means.
    """
    weights_named(name)
    with session_scope(engine) as session:
        stored = stored_weights(session, name)
    if stored is not None:
        return Pretrained(name, stored.sha256, read_tensors(objects, stored.tensors_digest))
    if not allow_stand_in:
        raise missing_weights([name])
    return None


def read_tensors(objects: ObjectStore, digest: str) -> dict[str, Tensor]:
    """The tensors of a safetensors object by name, on the CPU, once its bytes have the digest.

    Raises ObjectMissing, ObjectCorrupt, WeightsCorrupt.
    """
    with tempfile.TemporaryDirectory(prefix="segsmith-weights-") as folder:
        file = Path(folder) / "weights.safetensors"
        objects.fetch_to(digest, file)
        try:
            return load_file(file)  # mapped: the pages outlive the name
        except SafetensorError as error:
            raise WeightsCorrupt(f"Object {digest[:12]}… is no safetensors file: {error}") from error
