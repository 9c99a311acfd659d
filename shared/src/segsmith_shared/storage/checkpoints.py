"""Checkpoints: tensors as safetensors objects, and a JSON manifest that names them; never a pickle.

Tensors are grouped by the first part of their name (`network.…`, `average.…`), an object each, so that generation reads
the averaged weights alone, and a group that did not change is stored once.
"""

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from segsmith_shared.problems import Problem
from segsmith_shared.storage.objects import Digest, ObjectStore

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "segsmith-checkpoint/1"
SAFETENSORS = "application/x-safetensors"


class CheckpointUnreadable(Problem):
    """The object is no checkpoint of ours, or its tensors are not those its manifest names."""

    status = 500
    title = "A checkpoint cannot be read"


def save(store: ObjectStore, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> Digest:
    """Store tensors (on the CPU, contiguous) and return the digest of their manifest; `facts` must be JSON values."""
    from safetensors.torch import save as as_safetensors  # torch is there only where checkpoints are made

    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(_group_of(name), {})[name] = tensor
    manifest = {
        "format": FORMAT,
        "facts": dict(facts),
        "groups": {
            group: {
                "digest": store.put_bytes(as_safetensors(members), SAFETENSORS),
                "tensors": {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in members.items()},
            }
            for group, members in groups.items()
        },
    }
    return store.put_bytes(json.dumps(manifest, sort_keys=True).encode(), "application/json")


def load(
    store: ObjectStore, digest: str, groups: Collection[str] | None = None
) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """The tensors (of the named groups only, if given) and the facts that `save` was given.

    Every byte is checked against its digest, every tensor against the manifest. Raises CheckpointUnreadable,
    ObjectMissing or ObjectCorrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_safetensors

    manifest = _manifest(store.get_bytes(digest), digest)
    tensors: dict[str, Tensor] = {}
    for group, stored in manifest["groups"].items():
        if groups is not None and group not in groups:
            continue
        try:
            members = from_safetensors(store.get_bytes(stored["digest"]))
        except SafetensorError as error:
            raise CheckpointUnreadable(f"Group {group!r} of checkpoint {digest[:12]}… is damaged: {error}.") from error
        found = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in members.items()}
        if found != stored["tensors"]:
            raise CheckpointUnreadable(f"Group {group!r} of checkpoint {digest[:12]}… is not what its manifest names.")
        tensors |= members
    return tensors, manifest["facts"]


def _group_of(name: str) -> str:
    return name.replace("/", ".").partition(".")[0]


def _manifest(content: bytes, digest: str) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
        if manifest["format"] == FORMAT and isinstance(manifest["groups"], dict):
            return dict(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointUnreadable(f"Object {digest[:12]}… is no checkpoint manifest.") from error
    raise CheckpointUnreadable(f"Object {digest[:12]}… is no checkpoint of the format {FORMAT}.")
