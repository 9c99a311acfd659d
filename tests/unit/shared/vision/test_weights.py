"""A stranger's weight file is read in a process of its own: tensors come out, and nothing else happens."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segsmith_shared.plans.weights import WeightsCorrupt
from segsmith_shared.vision.weights import convert_weights, shapes_in

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3), "fc.weight": torch.ones(4)}


def saved(path: Path, content: object = TENSORS) -> Path:
    torch.save(content, path)
    return path


def legacy(path: Path) -> Path:
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    return path


def as_safetensors(path: Path) -> Path:
    save_file(TENSORS, path)
    return path


@pytest.mark.parametrize("write", [saved, legacy, as_safetensors])
def test_tensors_come_back_as_they_were_saved(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    converted = tmp_path / "converted"
    shapes = convert_weights(write(tmp_path / "weights"), converted)
    read = load_file(converted)
    assert shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()} == shapes_in(converted)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in TENSORS.items())


def test_only_the_wanted_tensors_are_kept(tmp_path: Path) -> None:
    file = saved(tmp_path / "weights")
    assert convert_weights(file, tmp_path / "1", drop=("fc.",)).keys() == {"a.weight", "a.count"}
    assert convert_weights(file, tmp_path / "2", keep=("fc.",)).keys() == {"fc.weight"}
    with pytest.raises(WeightsCorrupt, match="none of the tensors"):
        convert_weights(file, tmp_path / "3", keep=("features.",))


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    mark, file = tmp_path / "was-run", tmp_path / "weights.pt"
    torch.save({"a": torch.ones(2), "b": Hostile(mark)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsCorrupt, match="something other than tensors") as caught:
        convert_weights(file, tmp_path / "converted")
    assert "nothing in the file was run" in caught.value.hint
    assert not mark.exists()


def swollen(path: Path) -> Path:
    """One number, viewed as four terabytes."""
    return saved(path, {"a": torch.ones(1).expand(10**12)})


def compressed(path: Path) -> Path:
    """A gigabyte of zeros in a few hundred kilobytes, as no torch writes it."""
    plain = saved(path.with_suffix(".plain"), {"a": torch.zeros(8)})
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            target.writestr(entry.filename, bytes(2**30) if entry.filename.endswith("data/0") else content)
    return path


def truncated(path: Path) -> Path:
    file = saved(path, {"a": torch.ones(10_000)})
    file.write_bytes(file.read_bytes()[:20_000])
    return file


def truncated_safetensors(path: Path) -> Path:
    file = as_safetensors(path)
    file.write_bytes(file.read_bytes()[:-5])
    return file


def nested(path: Path) -> Path:
    return saved(path, {"state_dict": TENSORS, "epoch": 3})


def numbered(path: Path) -> Path:
    return saved(path, {0: torch.ones(2)})


def no_number(path: Path) -> Path:
    return saved(path, {"a": torch.tensor([1.0, float("nan")])})


def sparse(path: Path) -> Path:
    return saved(path, {"a": torch.eye(3).to_sparse()})


def without_values(path: Path) -> Path:
    return saved(path, {"a": torch.empty(10**9, device="meta")})


def text(path: Path) -> Path:
    path.write_text("<html>Not found</html>" * 100)
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (swollen, "claim 4000000000000 bytes"),
        (compressed, "compressed"),
        (truncated, ""),
        (truncated_safetensors, ""),
        (nested, "flat mapping"),
        (numbered, "flat mapping"),
        (no_number, "NaN"),
        (sparse, "sparse"),
        (without_values, "without values"),
        (text, ""),
        (empty, ""),
    ],
)
def test_what_is_no_plain_state_dict_is_refused(tmp_path: Path, write: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(WeightsCorrupt, match=f"other than tensors: .*{words}"):
        convert_weights(write(tmp_path / "weights.pt"), tmp_path / "converted")


def test_a_claim_of_256_gigabytes_meets_the_readers_limit(tmp_path: Path) -> None:
    """A legacy file claims its storages' sizes before it gives their bytes: the claim meets the limit."""
    file = legacy(tmp_path / "weights.pth")
    content = file.read_bytes()
    claimed = content.replace(b"K\x06N", b"\x8a\x06\x00\x00\x00\x00\x10\x00N", 1)  # 6 numbers become 2**36
    assert claimed != content
    file.write_bytes(claimed)
    with pytest.raises(WeightsCorrupt):
        convert_weights(file, tmp_path / "converted")
