"""Bundles of pretrained files on this machine: told from other files, and checked against their own manifest."""

import hashlib
import tarfile
from pathlib import Path

from pydantic import ValidationError

from segsmith.problems import TransferBroken
from segsmith_shared.plans.weights import MANIFEST, TENSORS_SUFFIX, BundleManifest

LARGEST_MANIFEST_BYTES = 2**20


def is_bundle(file: Path) -> bool:
    """Whether the file is a tar that begins with a manifest."""
    try:
        with tarfile.open(file, "r:") as archive:
            first = archive.next()
            return first is not None and first.name == MANIFEST
    except (tarfile.TarError, OSError):
        return False


def check_bundle(file: Path) -> BundleManifest:
    """The manifest, once every file it names is there with its digest. Raises TransferBroken."""
    try:
        with tarfile.open(file, "r:") as archive:
            manifest = _manifest(archive)
            found = {member.name: _sha256(archive, member) for member in archive if member.name != MANIFEST}
    except (tarfile.TarError, ValidationError, EOFError) as error:
        raise TransferBroken(f"{file} is no whole bundle: {error}", hint="Export it again.") from error
    for bundled in manifest.files:
        if found.get(bundled.name + TENSORS_SUFFIX) != bundled.tensors_sha256:
            raise TransferBroken(f"{bundled.name} is missing or damaged in {file}.", hint="Export it again.")
    return manifest


def _manifest(archive: tarfile.TarFile) -> BundleManifest:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if content is None:
        raise tarfile.ReadError(f"it does not begin with {MANIFEST}")
    return BundleManifest.model_validate_json(content.read(LARGEST_MANIFEST_BYTES))


def _sha256(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member)
    if content is None:
        return ""
    digest = hashlib.sha256()
    while chunk := content.read(2**20):
        digest.update(chunk)
    return digest.hexdigest()
