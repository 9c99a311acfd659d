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
    """A pair of one list and the one of the other list that shows the same; likeness 1 where the pixels are equal.

    `is_copy`: the same picture. Else as alike as frames of one sequence are.
    """

    pair: Pair
    other: Pair
    likeness: float
    orientation: int = 0
    is_copy: bool = True

    def in_words(self) -> str:
        """`a7 = b3`, or `a7 ~ b3 (mirrored, likeness .982)`."""
        if self.likeness >= 1:
            return f"{self.pair.name} = {self.other.name}"
        turned = f"{ORIENTATIONS[self.orientation]}, " if self.orientation else ""
        return f"{self.pair.name} ~ {self.other.name} ({turned}likeness {self.likeness:.3f})"


@dataclass(frozen=True)
class Comparison:
    """What comparing two lists found.

    `unknown` counts pairs without fingerprints, of which only exact copies can be found and whose import has grouped no
    mirrored ones, `in_groups` those of a near-duplicate group of their
    own version that the other list has pairs of too: where a list of names divides a version, groups may be torn.
    """

    overlaps: list[Overlap]
    unknown: int
    in_groups: int


def compare(session: Session, pairs: Sequence[Pair], others: Sequence[Pair]) -> Comparison:
    """The pairs that `others` show too.

    Pairs imported before fingerprints were kept are compared bit by bit alone, and so are pairs of one version: their
    import has grouped what looks alike, and splits keep groups together.
    """
    exact = {other.image_digest: other for other in others}
    found = {p.id: Overlap(p, exact[p.image_digest], 1.0) for p in pairs if p.image_digest in exact}
    looks = _looks(session, [*pairs, *others])
    left, right = ([each for each in side if each.id in looks] for side in (pairs, others))
    for version_id in {pair.version_id for pair in left}:
        ours = [pair for pair in left if pair.version_id == version_id and pair.id not in found]
        theirs = [pair for pair in right if pair.version_id != version_id]
        for alike in look_alikes([looks[p.id] for p in ours], [looks[p.id] for p in theirs]):
            pair, likeness = ours[alike.first], min(alike.likeness, 0.9999)
            found[pair.id] = Overlap(pair, theirs[alike.second], likeness, alike.orientation, alike.is_copy)
    overlaps = [found[pair.id] for pair in pairs if pair.id in found]
    return Comparison(overlaps, sum(each.id not in looks for each in [*pairs, *others]), _in_groups(pairs, others))


def _in_groups(pairs: Sequence[Pair], others: Sequence[Pair]) -> int:
    groups = {(o.version_id, o.near_duplicate_group) for o in others if o.near_duplicate_group is not None}
    return sum((pair.version_id, pair.near_duplicate_group) in groups for pair in pairs)


def _looks(session: Session, pairs: Sequence[Pair]) -> dict[UUID, Look]:
    query = select(PairFingerprint).where(among(col(PairFingerprint.pair_id), [pair.id for pair in pairs]))
    return {row.pair_id: Look.from_bytes(row.hash_bytes, row.colour_print) for row in session.exec(query)}
