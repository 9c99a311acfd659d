"""Pretrained files through their import job: checked, pinned, stored once, and carried to another installation."""

import json
import tarfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from segsmith_shared.database.session import session_scope
from segsmith_shared.plans.weights import (
    FID_INCEPTION,
    UnknownWeights,
    WeightsCorrupt,
    WeightsMissing,
    WeightsPinned,
)
from segsmith_shared.problems import Problem
from segsmith_shared.storage.objects import ObjectCorrupt, ObjectMissing, ObjectStore, key_of
from segsmith_shared.storage.references import every_digest_named, object_references
from segsmith_shared.vision.features import extractor_for
from segsmith_shared.vision.weights import pretrained
from tests.fixtures.weight_imports import UNPUBLISHED, WeightImports, small_tensors

Files = dict[str, bytes]


def saved(folder: Path, seed: int = 0, name: str = "weights.pth") -> Path:
    torch.save(small_tensors(seed), folder / name)
    return folder / name


def test_a_file_without_published_digest_is_pinned_when_it_first_comes(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    file = saved(tmp_path)
    job = weight_imports.weights(file)
    row = weight_imports.stored()
    assert row is not None
    assert job.outputs == {"names": [UNPUBLISHED]}
    assert (row.sha256, row.pinned) == (sha256(file.read_bytes()).hexdigest(), "first import")
    found = pretrained(weight_imports.engine, weight_imports.objects, UNPUBLISHED)
    assert found.sha256 == row.sha256
    assert found.tensors.keys() == small_tensors().keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in small_tensors().items())
    with session_scope(weight_imports.engine) as session:
        assert row.tensors_digest in object_references(session, weight_imports.objects)
        assert row.tensors_digest in every_digest_named(session, weight_imports.objects)


def test_another_file_of_a_pinned_name_is_refused_until_it_is_replaced(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    weight_imports.weights(saved(tmp_path))
    first = weight_imports.stored()
    weight_imports.weights(saved(tmp_path))  # the same again is no news
    other = saved(tmp_path, seed=1)
    with pytest.raises(WeightsPinned, match="first import") as caught:
        weight_imports.weights(other)
    assert "--replace" in caught.value.hint
    kept = weight_imports.stored()
    assert kept is not None
    assert first is not None
    assert kept.tensors_digest == first.tensors_digest
    weight_imports.weights(other, replace=True)
    replaced = weight_imports.stored()
    assert replaced is not None
    assert replaced.tensors_digest != first.tensors_digest


def test_a_file_with_another_digest_than_the_published_is_refused(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    with pytest.raises(WeightsCorrupt, match="6726825d"):
        weight_imports.weights(saved(tmp_path), FID_INCEPTION)
    assert weight_imports.stored(FID_INCEPTION) is None


@pytest.mark.parametrize("change", ["wrong shape", "missing", "extra"])
def test_a_file_of_another_layout_is_refused_by_its_first_difference(
    weight_imports: WeightImports, tmp_path: Path, change: str
) -> None:
    tensors = small_tensors()
    if change == "wrong shape":
        tensors["0.weight"] = torch.ones(4, 4)
    elif change == "missing":
        del tensors["0.weight"]
    else:
        tensors["zebra"] = torch.ones(1)
    torch.save(tensors, tmp_path / "weights.pth")
    with pytest.raises(WeightsCorrupt, match=r"zebra is 1, not absent|0\.weight is (4×4|absent), not 4×3"):
        weight_imports.weights(tmp_path / "weights.pth")
    assert weight_imports.stored() is None


def test_every_use_compares_the_digest(weight_imports: WeightImports, tmp_path: Path) -> None:
    weight_imports.weights(saved(tmp_path))
    row = weight_imports.stored()
    assert row is not None
    store = weight_imports.objects
    content = store.get_bytes(row.tensors_digest)
    damage(store, row.tensors_digest, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ObjectCorrupt):
        pretrained(weight_imports.engine, store, UNPUBLISHED)
    store.delete(row.tensors_digest)
    with pytest.raises(ObjectMissing):  # a lost file is no missing one: nothing stands in for it
        pretrained(weight_imports.engine, store, UNPUBLISHED, allow_stand_in=True)


def damage(store: ObjectStore, digest: str, content: bytes) -> None:
    """Other bytes under the object's name, as a bad disk would leave them."""
    store._client.put_object(store._bucket, key_of(digest), BytesIO(content), len(content))


def test_without_its_file_a_stand_in_works_only_when_it_is_asked_for(weight_imports: WeightImports) -> None:
    engine, objects = weight_imports.engine, weight_imports.objects
    assert extractor_for(engine, objects, allow_stand_in=True).stand_in
    assert pretrained(engine, objects, UNPUBLISHED, allow_stand_in=True) is None
    with pytest.raises(WeightsMissing) as caught:
        extractor_for(engine, objects)
    assert "segsmith weights fetch fid-inception" in caught.value.hint
    with pytest.raises(UnknownWeights):
        pretrained(engine, objects, "resnet1000", allow_stand_in=True)


def bundle(folder: Path, files: Files, **manifest: Any) -> Path:
    """A bundle as `weights export` makes one; `manifest` changes fields of its only entry, or the whole."""
    content = files.get(f"{UNPUBLISHED}.safetensors", b"")
    entry = {
        "name": UNPUBLISHED,
        "sha256": "ab" * 32,
        "tensors_sha256": sha256(content).hexdigest(),
        "pinned": "first import",
    }
    document = json.dumps({"format": "segsmith-weights/1", "files": [entry | manifest]}).encode()
    file = folder / "bundle.tar"
    with tarfile.open(file, "w") as archive:
        for name, data in {"manifest.json": document, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return file


def exported(imports: WeightImports, folder: Path) -> Files:
    """The stored tensors of the file without published digest, as a bundle has them."""
    imports.weights(saved(folder))
    row = imports.stored()
    assert row is not None
    return {f"{UNPUBLISHED}.safetensors": imports.objects.get_bytes(row.tensors_digest)}


def forget(imports: WeightImports) -> None:
    with session_scope(imports.engine) as session:
        session.delete(session.merge(imports.stored()))


def test_a_bundle_brings_files_to_a_machine_without_internet(weight_imports: WeightImports, tmp_path: Path) -> None:
    files = exported(weight_imports, tmp_path)
    forget(weight_imports)
    job = weight_imports.weights(bundle(tmp_path, files), name=None)
    row = weight_imports.stored()
    assert row is not None
    assert job.outputs == {"names": [UNPUBLISHED]}
    assert (row.sha256, row.pinned) == ("ab" * 32, "bundle")
    read = pretrained(weight_imports.engine, weight_imports.objects, UNPUBLISHED).tensors
    assert all(torch.equal(read[name], tensor) for name, tensor in small_tensors().items())


def test_what_a_bundle_claims_replaces_nothing_that_was_made_from_the_original(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    exported(weight_imports, tmp_path)
    row = weight_imports.stored()
    assert row is not None
    forged = {f"{UNPUBLISHED}.safetensors": save(small_tensors(9))}
    weight_imports.weights(bundle(tmp_path, forged, sha256=row.sha256), name=None)
    kept = weight_imports.stored()
    assert kept is not None
    assert (kept.tensors_digest, kept.pinned) == (row.tensors_digest, "first import")
    with pytest.raises(WeightsPinned):
        weight_imports.weights(bundle(tmp_path, forged), name=None)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"tensors_sha256": "cd" * 32}, "missing or damaged"),
        ({"name": "../../etc/passwd"}, "No pretrained file is called"),
        ({"name": FID_INCEPTION}, "missing or damaged"),
        ({"sha256": "short"}, "sha256"),
        ({"pinned": "by me"}, "pinned"),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused_whole(
    weight_imports: WeightImports, tmp_path: Path, manifest: dict[str, str], words: str
) -> None:
    files = exported(weight_imports, tmp_path)
    forget(weight_imports)
    with pytest.raises(Problem, match=words):
        weight_imports.weights(bundle(tmp_path, files, **manifest), name=None)
    assert weight_imports.stored() is None


def test_a_tar_without_manifest_is_no_bundle(weight_imports: WeightImports, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pairs.tar", "w") as archive:
        archive.add(saved(tmp_path), "images/a.png")
    with pytest.raises(WeightsCorrupt, match=r"no manifest\.json"):
        weight_imports.weights(tmp_path / "pairs.tar", name=None)
