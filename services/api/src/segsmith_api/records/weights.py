"""Pretrained files: the registry beside what is stored of it."""

from collections.abc import Sequence

from sqlmodel import Session

from segsmith_api.answers import WeightsAnswer
from segsmith_shared.database.tables import PretrainedFile
from segsmith_shared.database.weights import all_stored, stored_weights
from segsmith_shared.plans.weights import PRETRAINED, fetch_command, weights_named
from segsmith_shared.problems import NotFound


class WeightsNotStored(NotFound):
    """The registry knows the file, and this installation does not have it."""

    title = "The pretrained file is not here"


def every(session: Session) -> list[WeightsAnswer]:
    stored = all_stored(session)
    return [WeightsAnswer.of(known, stored.get(known.name)) for known in PRETRAINED.values()]


def get(session: Session, name: str) -> WeightsAnswer:
    return WeightsAnswer.of(weights_named(name), stored_weights(session, name))


def chosen(session: Session, names: Sequence[str] | None) -> list[PretrainedFile]:
    """The stored files of these names, or all. Raises UnknownWeights, WeightsNotStored."""
    stored = all_stored(session)
    wanted = [weights_named(name).name for name in dict.fromkeys(names or stored)]
    if missing := [name for name in wanted if name not in stored]:
        raise WeightsNotStored(f"Not here: {', '.join(missing)}.", hint=f"Run `{fetch_command(missing)}`.")
    if not wanted:
        raise WeightsNotStored("No pretrained file is here.", hint="`segsmith weights list` shows those there are.")
    return [stored[name] for name in wanted]
