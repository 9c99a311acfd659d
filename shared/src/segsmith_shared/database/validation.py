"""The real pairs that every segmentation training of a pipeline is validated on, set aside before anything is trained.

They choose the best step of each training. If a generator had seen them, or an arm trained on them, that choice would
favour the arm; if they differed between arms, so would the ruler.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

from sqlmodel import Session, col, select

from segsmith_shared.database.overlaps import compare
from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import Job, Pair, Split
from segsmith_shared.pairs.splits import Member, SplitNotPossible, split_by_fractions
from segsmith_shared.plans.specs import PartRef, PipelineSpec
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import seed_for

TRAINING, VALIDATION = "training", "validation"
LEAST_PAIRS = 3
"""Two to train on and one to validate with."""


class NoValidationPairs(InvalidInput):
    """No pairs can be set aside to validate with."""

    title = "There are no pairs to validate with"


def with_validation(session: Session, spec: PipelineSpec, pipeline_id: UUID, trainings: Iterable[UUID]) -> PipelineSpec:
    """The request with `pairs` and `validation` as they will be used; a split is written where they had to be divided.

    Near-duplicates and frames of one patient stay together. Pairs that the models of the jobs `trainings` have seen are
    not chosen. Raises NoValidationPairs.
    """
    if spec.segmentation is None or spec.validation is not None:
        return spec
    stored = pairs_of(session, spec.pairs)
    if len(stored) < LEAST_PAIRS:
        raise NoValidationPairs(
            f"{len(stored)} {'pair is' if len(stored) == 1 else 'pairs are'} left to train on and to validate with; at "
            f"least three pairs are needed, four with a test part.",
            hint="Add pairs, or run without a segmentation study: --test-fraction 0, or `segmentation` null.",
        )
    parts = _divided(stored, _seen(session, stored, trainings), spec)
    split = Split(
        id=uuid4(),
        version_id=spec.pairs.version_id,
        name=f"pipeline {pipeline_id}: {TRAINING} and {VALIDATION}",
        parameters={
            "by": "fractions",
            "fractions": {VALIDATION: spec.segmentation.validation_fraction},
            "seed": spec.seed,
        },
        parts=parts,
    )
    session.add(split)
    session.flush()
    training, validation = (
        PartRef(version_id=spec.pairs.version_id, split_id=split.id, part=part) for part in (TRAINING, VALIDATION)
    )
    return spec.model_copy(update={"pairs": training, "validation": validation})


def _divided(stored: Sequence[Pair], seen: set[UUID], spec: PipelineSpec) -> dict[str, list[str]]:
    """Ids per part, in order. Groups with a pair that a model has seen go to training whole."""
    wanted = round((spec.segmentation.validation_fraction if spec.segmentation else 0) * len(stored)) or 1
    groups_seen = {pair.near_duplicate_group for pair in stored if pair.id in seen} - {None}
    free = [pair for pair in stored if pair.id not in seen and pair.near_duplicate_group not in groups_seen]
    members = [Member(str(pair.id), pair.near_duplicate_group) for pair in free]
    hint = "Give `validation` pairs of their own, use more pairs, or set `segmentation` to null."
    if not members:
        raise NoValidationPairs(f"The models have been trained on all {len(stored)} pairs.", hint=hint)
    groups = len({member.name if member.group is None else member.group for member in members})
    if (len(members) <= wanted or groups == 1) and len(members) < len(stored):
        chosen = {member.name for member in members}
    else:
        share = min(wanted / len(members), 0.9)
        try:
            division = split_by_fractions(
                members, {TRAINING: 1 - share, VALIDATION: share}, seed_for(spec.seed, "validation")
            )
        except SplitNotPossible as problem:
            raise NoValidationPairs(problem.detail, hint=hint) from problem
        chosen = set(division.parts[VALIDATION])
    ids = [str(pair.id) for pair in stored]
    return {
        TRAINING: [each for each in ids if each not in chosen],
        VALIDATION: [each for each in ids if each in chosen],
    }


def _seen(session: Session, stored: Sequence[Pair], trainings: Iterable[UUID]) -> set[UUID]:
    """Which of these pairs show a picture that one of these trainings saw, also re-encoded, or much like one."""
    trained_on = pairs_trained_on(session, trainings)
    return {overlap.pair.id for overlap in compare(session, stored, trained_on).overlaps} if trained_on else set()


def pairs_trained_on(session: Session, trainings: Iterable[UUID]) -> list[Pair]:
    """The pairs of these training jobs; of checkpoints imported from elsewhere nothing is known."""
    jobs = session.exec(select(Job).where(col(Job.id).in_(list(trainings))))
    references = {PartRef.model_validate(job.spec["pairs"]) for job in jobs if job.spec.get("pairs")}
    return [pair for reference in references for pair in pairs_of(session, reference)]
