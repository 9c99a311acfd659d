"""A version as a zip that is made while it is sent: its size in memory is that of a few pairs."""

import json
import zipfile
from collections.abc import Iterator
from itertools import chain

from segsmith_api.installation import Installation
from segsmith_api.records import datasets, science
from segsmith_shared.database.tables import DatasetVersion, Pair
from segsmith_shared.pairs.classes import CLASSES_FILE, LESION, class_list

PAIRS_AT_ONCE = 100
READ_AHEAD = 4


class _Outlet:
    """Where ZipFile writes: a stream that cannot seek, emptied after every entry."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing to flush; ZipFile asks."""

    def close(self) -> None:
        """Nothing to close."""

    def take(self) -> bytes:
        taken = b"".join(self._chunks)
        self._chunks.clear()
        return taken


def archive_of(here: Installation, version: DatasetVersion) -> Iterator[bytes]:
    """The zip in chunks: `images/NAME.png`, `masks/NAME.png`, then `provenance.jsonl` with a line per pair.

    Where labels tell classes apart, or have unknown regions, `classes.json` says so in the way that an import reads.
    The same version gives the same bytes: entries are stored, not compressed (PNG is), and dated as the version.
    No database connection is held while the client reads.
    """
    outlet = _Outlet()
    provenance: list[str] = []
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for pairs, lines in _batches(here, version):
            provenance += lines
            digests = chain.from_iterable((pair.image_digest, pair.label_digest) for pair in pairs)
            contents = here.objects.get_many(digests, threads=READ_AHEAD)
            for pair in pairs:
                for folder in ("images", "masks"):
                    archive.writestr(_entry(version, f"{folder}/{entry_name(pair.name)}.png"), next(contents))
                    yield outlet.take()
        ignored = bool(version.report.get("counts", {}).get("ignored_regions"))
        if version.class_names or ignored:
            listed = class_list(version.class_names or [LESION], ignored=ignored)
            archive.writestr(_entry(version, CLASSES_FILE), listed)
        archive.writestr(_entry(version, "provenance.jsonl"), "".join(line + "\n" for line in provenance))
    yield outlet.take()


def entry_name(name: str) -> str:
    """A pair's name as a path that stays inside the folder it is unpacked to."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(part.replace(":", "_") for part in parts) or "pair"


def _batches(here: Installation, version: DatasetVersion) -> Iterator[tuple[list[Pair], list[str]]]:
    position = -1
    while True:
        with here.transaction() as session:
            pairs = datasets.pairs_after(session, version.id, position, PAIRS_AT_ONCE)
            lines = [json.dumps(line, sort_keys=True) for line in science.provenance_of(session, version, pairs)]
        if not pairs:
            return
        yield pairs, lines
        position = pairs[-1].position


def _entry(version: DatasetVersion, path: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(path, version.created_at.timetuple()[:6])
