"""Training states survive storage exactly, and damage is noticed before it is trained on."""

import json

import pytest
import torch

from segsmith_shared.storage.checkpoints import CheckpointUnreadable, load, save
from segsmith_shared.storage.objects import ObjectMissing, ObjectStore

STATE = {
    "network.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "average.weight": torch.full((2, 3), torch.pi),
    "progress": torch.tensor([3, 48]),
}


def test_what_was_saved_comes_back_bit_for_bit(object_store: ObjectStore) -> None:
    tensors, facts = load(object_store, save(object_store, STATE, {"images_seen": 48}))
    assert facts == {"images_seen": 48}
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) and tensors[name].dtype == STATE[name].dtype for name in STATE)


def test_generation_reads_the_averaged_weights_alone(object_store: ObjectStore) -> None:
    tensors, _ = load(object_store, save(object_store, STATE, {}), groups=("average",))
    assert tensors.keys() == {"average.weight"}


def test_an_equal_state_is_stored_once(object_store: ObjectStore) -> None:
    assert save(object_store, STATE, {"a": 1}) == save(object_store, dict(STATE), {"a": 1})


def test_a_manifest_that_names_another_group_is_refused(object_store: ObjectStore) -> None:
    manifest = json.loads(object_store.get_bytes(save(object_store, STATE, {})))
    manifest["groups"]["network"]["digest"] = manifest["groups"]["average"]["digest"]
    forged = object_store.put_bytes(json.dumps(manifest).encode())
    with pytest.raises(CheckpointUnreadable, match="not what its manifest names"):
        load(object_store, forged)


@pytest.mark.parametrize("content", [b"\x80\x04 pickle", b"[]", b'{"format": "other"}'])
def test_an_object_that_is_no_checkpoint_is_refused(object_store: ObjectStore, content: bytes) -> None:
    with pytest.raises(CheckpointUnreadable):
        load(object_store, object_store.put_bytes(content))


def test_a_lost_group_is_told_by_name(object_store: ObjectStore) -> None:
    digest = save(object_store, STATE, {})
    group = json.loads(object_store.get_bytes(digest))["groups"]["network"]["digest"]
    object_store.delete(group)
    with pytest.raises(ObjectMissing):
        load(object_store, digest)
