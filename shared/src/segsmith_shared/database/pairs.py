"""Which pairs a reference means, in their order: all at once, in short reads, or some of them drawn."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.tables import DatasetVersion, Pair, Split
from segsmith_shared.plans.specs import PartRef
from segsmith_shared.problems import NotFound


def pairs_of(session: Session, reference: PartRef, *, lesions_only: bool = False) -> list[Pair]:
    """The pairs of a version or of a split's part, by position; `lesions_only` leaves negatives out.

    Raises NotFound where one of these is unknown.
    """
    meant = _meant(session, reference, lesions_only=lesions_only)
    return list(session.exec(select(Pair).where(*meant).order_by(col(Pair.position))))


def class_names_of(session: Session, reference: PartRef) -> list[str]:
    """What the labels of these pairs tell apart; empty where they are lesion or not. Raises NotFound."""
    version = session.get(DatasetVersion, reference.version_id)
    if version is None:
        raise NotFound(f"There is no dataset version {reference.version_id}.")
    return list(version.class_names)


def count_pairs(session: Session, reference: PartRef, *, lesions_only: bool = False) -> int:
    """How many pairs a reference means. Raises NotFound as `pairs_of` does."""
    meant = _meant(session, reference, lesions_only=lesions_only)
    return session.exec(select(func.count()).select_from(Pair).where(*meant)).one()


def pairs_after(session: Session, version_id: UUID, position: int, limit: int) -> list[Pair]:
    """The next pairs of a version by position: whoever walks a large one does it in short reads."""
    query = select(Pair).where(Pair.version_id == version_id, Pair.position > position)
    return list(session.exec(query.order_by(col(Pair.position)).limit(limit)))


def drawn_pairs(
    session: Session,
    reference: PartRef,
    count: int,
    seed: int,
    first: Iterable[UUID] = (),
    *,
    lesions_only: bool = False,
) -> list[Pair]:
    """At most `count` pairs of a reference, by position: those of the ids `first`, the others drawn by the seed."""
    order = among(col(Pair.id), first).desc(), drawing_order(seed)
    meant = _meant(session, reference, lesions_only=lesions_only)
    query = select(Pair).where(*meant).order_by(*order).limit(count)
    return sorted(session.exec(query), key=lambda pair: pair.position)


def drawing_order(seed: int) -> ColumnElement[str]:
    """Pairs in an order as good as random, which depends on the seed and their positions alone."""
    return func.md5(func.concat(seed, ":", col(Pair.position)))


def members_of(session: Session, reference: PartRef) -> frozenset[UUID] | None:
    """The ids of the pairs of a split's part; None where the reference means the whole version. Raises NotFound."""
    if reference.split_id is None:
        return None
    split = session.get(Split, reference.split_id)
    if split is None or split.version_id != reference.version_id:
        raise NotFound(f"Version {reference.version_id} has no split {reference.split_id}.")
    if reference.part not in split.parts:
        raise NotFound(
            f"Split {split.name!r} has no part {reference.part!r}.",
            hint=f"Its parts: {', '.join(sorted(split.parts))}.",
        )
    return frozenset(UUID(pair_id) for pair_id in split.parts[reference.part])


def _meant(session: Session, reference: PartRef, *, lesions_only: bool = False) -> list[ColumnElement[bool]]:
    if session.get(DatasetVersion, reference.version_id) is None:
        raise NotFound(f"There is no dataset version {reference.version_id}.")
    members = members_of(session, reference)
    whole: ColumnElement[bool] = col(Pair.version_id) == reference.version_id
    meant = [whole] if members is None else [whole, among(col(Pair.id), members)]
    return [*meant, col(Pair.lesion_fraction) > 0] if lesions_only else meant
