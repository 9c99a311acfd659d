"""Whether two lists of pairs show the same pictures: bit by bit, or alike after re-encoding, resizing or mirroring.

Labels play no part: the same picture under another label is the same picture. Names play none either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.tables import Pair, PairFingerprint
from segsmith_shared.pairs.near_duplicates import ORIENTATIONS, Look, look_alikes


@dataclass(frozen=True)
class Overlap:
    """A pair of one list and the one of the other list that shows the same; likeness 1 where the files are equal."""

    pair: Pair
    other: Pair
    likeness: float
    orientation: int = 0

    def in_words(self) -> str:
        """`a7 = b3`, or `a7 ~ b3 (mirrored, likeness .982)`."""
        if self.likeness >= 1:
            return f"{self.pair.name} = {self.other.name}"
        turned = f"{ORIENTATIONS[self.orientation]}, " if self.orientation else ""
        return f"{self.pair.name} ~ {self.other.name} ({turned}likeness {self.likeness:.3f})"


@dataclass(frozen=True)
class Comparison:
    """What comparing two lists found. `unknown` counts pairs of which only exact copies can be found."""

    overlaps: list[Overlap]
    unknown: int


def compare(session: Session, pairs: Sequence[Pair], others: Sequence[Pair]) -> Comparison:
    """The pairs that `others` show too. Pairs imported before fingerprints were kept are compared bit by bit alone."""
    exact = {other.image_digest: other for other in others}
    found = {p.id: Overlap(p, exact[p.image_digest], 1.0) for p in pairs if p.image_digest in exact}
    looks = _looks(session, [*pairs, *others])
    left, right = ([each for each in side if each.id in looks] for side in (pairs, others))
    left = [pair for pair in left if pair.id not in found]
    for alike in look_alikes([looks[p.id] for p in left], [looks[p.id] for p in right]):
        pair = left[alike.first]
        found[pair.id] = Overlap(pair, right[alike.second], min(alike.likeness, 0.9999), alike.orientation)
    unknown = sum(each.id not in looks for each in [*pairs, *others])
    return Comparison([found[pair.id] for pair in pairs if pair.id in found], unknown)


def _looks(session: Session, pairs: Sequence[Pair]) -> dict[UUID, Look]:
    query = select(PairFingerprint).where(among(col(PairFingerprint.pair_id), [pair.id for pair in pairs]))
    return {row.pair_id: Look.from_bytes(row.hash_bytes, row.colour_print) for row in session.exec(query)}
