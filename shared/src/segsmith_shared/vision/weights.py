"""Pretrained weights come from files a person put there: pinned by digest, and never unpickled in this process."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from segsmith_shared.problems import Problem

CONVERSION_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class KnownWeights:
    """A published weight file: its name in the folder, the start of its SHA-256, its size and where it is published."""

    file_name: str
    sha256_prefix: str
    megabytes: int
    published_at: str


FID_INCEPTION = "fid-inception"

KNOWN_WEIGHTS: dict[str, KnownWeights] = {
    FID_INCEPTION: KnownWeights(
        file_name="pt_inception-2015-12-05-6726825d.pth",
        sha256_prefix="6726825d",
        megabytes=95,
        published_at="https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
    ),
}


class WeightsMissing(Problem):
    """The folder of pretrained weights has no such file."""

    status = 422
    title = "A pretrained weight file is missing"


class WeightsCorrupt(Problem):
    """The file is there, but it is not the published one, or not what its name says."""

    status = 422
    title = "A pretrained weight file cannot be trusted"


@dataclass(frozen=True)
class VerifiedWeights:
    """A weight file whose digest was compared with the pinned one."""

    path: Path
    sha256: str


def find_weights(folder: Path | None, name: str) -> VerifiedWeights:
    """The file of the known weights `name` in `folder`, its digest checked.

    Raises WeightsMissing with the way to put the file there, WeightsCorrupt where the digest differs.
    """
    known = KNOWN_WEIGHTS[name]
    if folder is None or not (folder / known.file_name).is_file():
        where = f"not in {folder}" if folder else "nowhere: WEIGHTS_DIR is not set"
        raise WeightsMissing(
            f"The file {known.file_name} ({known.megabytes} MB) is {where}.",
            hint=f"Download it from {known.published_at} into one folder and name that folder in WEIGHTS_DIR.",
        )
    return verify_weights(folder / known.file_name, known.sha256_prefix)


def verify_weights(path: Path, sha256_prefix: str) -> VerifiedWeights:
    """The file at `path`, if its SHA-256 (hexadecimal) begins with `sha256_prefix` (at least 8 digits)."""
    if len(sha256_prefix) < 8:
        raise ValueError("a prefix under 8 digits pins nothing")
    try:
        sha256 = sha256_of(path)
    except FileNotFoundError as error:
        raise WeightsMissing(f"The file {path.name} is not in {path.parent}.", hint="Put it there.") from error
    if not sha256.startswith(sha256_prefix.lower()):
        raise WeightsCorrupt(
            f"{path} has the SHA-256 {sha256[:16]}…, but {sha256_prefix}… is the published one.",
            hint="Delete the file and fetch it again; a broken download is the usual reason.",
        )
    return VerifiedWeights(path, sha256)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in blocks."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def read_weights(weights: VerifiedWeights) -> dict[str, Tensor]:
    """The tensors of a verified file by name, on the CPU; a pickled file is read in a separate process.

    Raises WeightsCorrupt for a file that holds anything but tensors.
    """
    if weights.path.suffix == ".safetensors":
        return load_file(weights.path)
    with tempfile.TemporaryDirectory(prefix="segsmith-weights-") as folder:
        converted = Path(folder) / "weights.safetensors"
        finished = subprocess.run(
            [sys.executable, "-I", "-m", "segsmith_shared.vision.convert_weights", str(weights.path), str(converted)],
            capture_output=True,
            text=True,
            timeout=CONVERSION_TIMEOUT_SECONDS,
            check=False,
        )
        if finished.returncode != 0:
            reason = finished.stderr.strip().splitlines()[-1:] or [f"exit status {finished.returncode}"]
            raise WeightsCorrupt(
                f"{weights.path} holds something other than tensors: {reason[0]}",
                hint="Only a plain state dict of tensors is read; nothing in the file was run.",
            )
        return load_file(converted)
