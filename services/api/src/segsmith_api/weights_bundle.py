"""Stored pretrained files as one tar that is made while it is sent, for machines without internet."""

import tarfile
from collections.abc import Iterator, Sequence

from segsmith_api.installation import Installation
from segsmith_shared.database.tables import PretrainedFile
from segsmith_shared.plans.weights import MANIFEST, TENSORS_SUFFIX, BundledFile, BundleManifest


def bundle_of(here: Installation, rows: Sequence[PretrainedFile]) -> Iterator[bytes]:
    """The manifest, then every file. A file whose digest turns out wrong breaks the connection off."""
    files = tuple(
        BundledFile.model_validate(
            {"name": row.name, "sha256": row.sha256, "tensors_sha256": row.tensors_digest, "pinned": row.pinned}
        )
        for row in rows
    )
    manifest = BundleManifest(files=files).model_dump_json(indent=1).encode()
    yield from _entry(MANIFEST, len(manifest), iter([manifest]))
    for row in rows:
        yield from _entry(row.name + TENSORS_SUFFIX, row.size_bytes, here.objects.open_stream(row.tensors_digest))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _entry(name: str, size_bytes: int, content: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    yield info.tobuf(tarfile.PAX_FORMAT)  # sizes beyond 8 GiB included
    yield from content
    yield bytes(-size_bytes % tarfile.BLOCKSIZE)
