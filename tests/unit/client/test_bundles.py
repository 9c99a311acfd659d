"""A bundle is told from other files, and a damaged one from a whole one."""

import json
import tarfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from segsmith.bundles import check_bundle, is_bundle
from segsmith.problems import TransferBroken

CONTENT = b"tensors" * 100


def bundle(folder: Path, content: bytes = CONTENT, first: str = "manifest.json") -> Path:
    entry = {
        "name": "vgg19",
        "sha256": "ab" * 32,
        "tensors_sha256": sha256(CONTENT).hexdigest(),
        "pinned": "first import",
    }
    manifest = json.dumps({"format": "segsmith-weights/1", "files": [entry]}).encode()
    file = folder / "bundle.tar"
    with tarfile.open(file, "w") as archive:
        for name, data in ((first, manifest), ("vgg19.safetensors", content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return file


def test_a_whole_bundle_is_one_and_says_what_it_holds(tmp_path: Path) -> None:
    file = bundle(tmp_path)
    assert is_bundle(file)
    assert [each.name for each in check_bundle(file).files] == ["vgg19"]


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04" + bytes(2000))
    assert not is_bundle(tmp_path / "weights.pth")
    assert not is_bundle(bundle(tmp_path, first="images/a.png"))
    assert not is_bundle(tmp_path / "absent")


def test_a_damaged_or_shortened_bundle_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(TransferBroken, match="vgg19 is missing or damaged"):
        check_bundle(bundle(tmp_path, CONTENT[:-1] + b"!"))
    file = bundle(tmp_path)
    file.write_bytes(file.read_bytes()[:1800])
    with pytest.raises(TransferBroken):
        check_bundle(file)
    with pytest.raises(TransferBroken, match="begin with"):
        check_bundle(bundle(tmp_path, first="images/a.png"))
