"""Pretrained files in Postgres: which are here, which a request lacks, and the pin that another file cannot replace."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlmodel import Session, col, select

from segsmith_shared.database.tables import PretrainedFile
from segsmith_shared.plans.weights import WeightsPinned, missing_weights


def stored_weights(session: Session, name: str) -> PretrainedFile | None:
    """The file of this name, if it is here."""
    return session.get(PretrainedFile, name)


def all_stored(session: Session) -> Mapping[str, PretrainedFile]:
    """Every file that is here, by name."""
    return {row.name: row for row in session.exec(select(PretrainedFile).order_by(col(PretrainedFile.name)))}


def require_weights(session: Session, names: Iterable[str], **members: Any) -> None:
    """Raises WeightsMissing, with the command that fetches them, for those that are not here."""
    if missing := set(names) - all_stored(session).keys():
        raise missing_weights(missing, **members)


def pin(session: Session, row: PretrainedFile, *, replace: bool) -> None:
    """Store the row under its name. Raises WeightsPinned where another original was pinned, unless told to replace.

    What a bundle says of an original replaces nothing that was made from that original here.
    """
    known = session.exec(
        select(PretrainedFile).where(PretrainedFile.name == row.name).with_for_update()
    ).one_or_none()  # fmt: skip
    if known is None:
        session.add(row)
        return
    if known.sha256 != row.sha256 and not replace:
        raise WeightsPinned(
            f"{row.name} was pinned as {known.sha256[:16]}… ({known.pinned}), and this file is {row.sha256[:16]}….",
            hint="Compare both with the publisher's; import it with --replace if this one is right.",
        )
    if known.sha256 == row.sha256 and row.pinned == "bundle" and not replace:
        return
    for name, value in row.model_dump(exclude={"name"}).items():
        setattr(known, name, value)
    session.add(known)
