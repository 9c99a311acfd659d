"""Which pairs a reference means, in their order."""

from uuid import UUID

from sqlmodel import Session, col, select

from segsmith_shared.database.tables import DatasetVersion, Pair, Split
from segsmith_shared.plans.specs import PartRef
from segsmith_shared.problems import NotFound


def pairs_of(session: Session, reference: PartRef) -> list[Pair]:
    """The pairs of a version or of a split's part, by position. Raises NotFound where one of these is unknown."""
    if session.get(DatasetVersion, reference.version_id) is None:
        raise NotFound(f"There is no dataset version {reference.version_id}.")
    query = select(Pair).where(Pair.version_id == reference.version_id).order_by(col(Pair.position))
    if reference.split_id is not None:
        query = query.where(col(Pair.id).in_(_members(session, reference)))
    return list(session.exec(query))


def class_names_of(session: Session, reference: PartRef) -> list[str]:
    """What the labels of these pairs tell apart; empty where they are lesion or not. Raises NotFound."""
    version = session.get(DatasetVersion, reference.version_id)
    if version is None:
        raise NotFound(f"There is no dataset version {reference.version_id}.")
    return list(version.class_names)


def _members(session: Session, reference: PartRef) -> list[UUID]:
    split = session.get(Split, reference.split_id)
    if split is None or split.version_id != reference.version_id:
        raise NotFound(f"Version {reference.version_id} has no split {reference.split_id}.")
    if reference.part not in split.parts:
        raise NotFound(
            f"Split {split.name!r} has no part {reference.part!r}.",
            hint=f"Its parts: {', '.join(sorted(split.parts))}.",
        )
    return [UUID(pair_id) for pair_id in split.parts[reference.part]]
