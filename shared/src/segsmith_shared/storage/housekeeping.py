"""Object store and database kept in step: `collect` removes what nothing names, `check` finds what is lost."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from segsmith_shared.storage.objects import Digest, ObjectCorrupt, ObjectMissing, ObjectStore, StoredObject

YOUNGEST_TO_COLLECT = timedelta(days=1)

ReadReferences = Callable[[], AbstractSet[str]]


@dataclass(frozen=True)
class Collected:
    """What one collection did: objects removed, and objects that nothing names but that are too young to remove."""

    removed: int
    removed_bytes: int
    too_young: int


@dataclass(frozen=True)
class Checked:
    """What a check found. `sound` counts objects that are there and, where asked, whose bytes are right."""

    sound: int
    missing: tuple[Digest, ...]
    corrupt: tuple[Digest, ...]


def collect(
    store: ObjectStore, references: ReadReferences, *, now: datetime | None = None, rehearse: bool = False
) -> Collected:
    """Removes unreferenced objects older than a day; with `rehearse` only counts them.

    The objects are listed *before* the references are read, and an object's age is looked at again just before it
    goes: a writer puts its object first and its row second, and putting it again makes it young. Run one at a time.
    """
    oldest_kept = (now or datetime.now(UTC)) - YOUNGEST_TO_COLLECT
    listed = list(store.each())
    referenced = references()
    loose = [entry for entry in listed if entry.digest not in referenced]
    removed = []
    for entry in loose:
        if _is_old(store, entry, oldest_kept):
            removed.append(entry)
            if not rehearse:
                store.delete(entry.digest)
    return Collected(len(removed), sum(entry.size_bytes for entry in removed), len(loose) - len(removed))


def check(store: ObjectStore, references: ReadReferences, *, read_everything: bool = True) -> Checked:
    """Looks for every referenced object; reads and verifies all bytes unless told to look at names alone."""
    referenced = [Digest(digest) for digest in sorted(references())]
    if read_everything:
        states = {digest: _state_of(store, digest) for digest in referenced}
    else:
        present = {entry.digest for entry in store.each()}
        states = {digest: None if digest in present else ObjectMissing for digest in referenced}
    missing = tuple(digest for digest, state in states.items() if state is ObjectMissing)
    corrupt = tuple(digest for digest, state in states.items() if state is ObjectCorrupt)
    return Checked(len(states) - len(missing) - len(corrupt), missing, corrupt)


def _state_of(store: ObjectStore, digest: Digest) -> type[ObjectMissing] | type[ObjectCorrupt] | None:
    """What reading the whole object raises, chunk by chunk: a checkpoint may be larger than the memory."""
    try:
        for _ in store.open_stream(digest):
            pass
    except (ObjectMissing, ObjectCorrupt) as error:
        return type(error)
    return None


def _is_old(store: ObjectStore, entry: StoredObject, oldest_kept: datetime) -> bool:
    if entry.modified_at >= oldest_kept:
        return False
    modified_at = store.modified_at(entry.digest)
    return modified_at is not None and modified_at < oldest_kept
