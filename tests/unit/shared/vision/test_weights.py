"""Weight files are pinned, and a hostile one runs nothing."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segsmith_shared.vision.weights import (
    FID_INCEPTION,
    WeightsCorrupt,
    WeightsMissing,
    find_weights,
    read_weights,
    verify_weights,
)


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="pt_inception-2015-12-05-6726825d") as caught:
        find_weights(tmp_path, FID_INCEPTION)
    assert "WEIGHTS_DIR" in caught.value.hint


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pt_inception-2015-12-05-6726825d.pth").write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match="6726825d"):
        find_weights(tmp_path, FID_INCEPTION)


def test_a_short_pin_is_no_pin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 digits"):
        verify_weights(tmp_path / "any", "")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_come_back_as_they_were_saved(tmp_path: Path, suffix: str) -> None:
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}
    path = tmp_path / f"weights{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else save_file(tensors, path)
    read = read_weights(verify_weights(path, digest_of(path)))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_that_would_run_code_runs_nothing_and_is_named(tmp_path: Path) -> None:
    mark, path = tmp_path / "was-run", tmp_path / "weights.pth"
    torch.save({"a": Hostile(mark)}, path)
    with pytest.raises(WeightsCorrupt, match=r"weights\.pth"):
        read_weights(verify_weights(path, digest_of(path)))
    assert not mark.exists()
