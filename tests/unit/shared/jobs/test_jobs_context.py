"""When a slice ends, and which of several requests a step hears; no database is needed for either."""

import itertools
import time
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import create_engine

from segsmith_shared.jobs import needs
from segsmith_shared.jobs.child import Child
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.context import STOP_REASONS, StepContext, StopReason
from segsmith_shared.settings import Settings

SETTINGS = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint="127.0.0.1:1",
    s3_access_key="none",
    s3_secret_key="none",
    slice_seconds=300,
)


def claim(wrap_up_seconds: float = 0.0, **spec: object) -> Claim:
    return Claim(uuid4(), 1, None, "probe", "", "cpu", spec, 0, None, wrap_up_seconds)


def context_after(seconds: float, held: Claim, reason: StopReason | None = None) -> StepContext:
    engine = create_engine(SETTINGS.database_url.get_secret_value())
    began = time.monotonic() - seconds
    return StepContext(held, SETTINGS, engine, lambda: reason, _began=began, _work_began=began)


@pytest.mark.parametrize(
    ("held", "least_seconds"),
    [
        (claim(), 300),
        (claim(slice_seconds=20), 20),
        (claim(slice_seconds=None), 300),
        (claim(wrap_up_seconds=40), 800),
        (claim(wrap_up_seconds=4, slice_seconds=20), 80),
    ],
)
def test_a_slice_lasts_as_asked_and_at_least_twenty_times_its_checkpoint(held: Claim, least_seconds: float) -> None:
    assert not context_after(least_seconds - 1, held).slice_is_over()
    assert context_after(least_seconds + 1, held).slice_is_over()


def test_what_a_step_needed_to_get_ready_does_not_shorten_its_slice() -> None:
    slow_start = replace(context_after(1000, claim(slice_seconds=20)), _work_began=None)
    assert not slow_start.slice_is_over()


def test_wrapping_up_is_timed_from_the_first_sign_of_the_end() -> None:
    going = context_after(1, claim())
    assert not going.slice_is_over()
    assert going.stop_requested() is None
    assert going.wrap_up_began is None
    stopped = context_after(1, claim(), StopReason.PAUSE)
    assert stopped.stop_requested() is StopReason.PAUSE
    first = stopped.wrap_up_began
    assert first is not None
    stopped.stop_requested()
    assert stopped.wrap_up_began == first


def test_a_cancel_is_not_softened_by_a_pause_and_only_a_pause_can_be_taken_back() -> None:
    child = Child(claim(), "no:where", SETTINGS)

    def heard() -> StopReason | None:
        return STOP_REASONS[child._flag.value]

    child.ask(StopReason.PAUSE)
    child.take_back_pause()
    assert heard() is None
    child.ask(StopReason.SHUTDOWN)
    child.ask(StopReason.PAUSE)
    assert heard() is StopReason.SHUTDOWN
    child.ask(StopReason.CANCEL)
    child.take_back_pause()
    assert heard() is StopReason.CANCEL
    child.close()


def test_circles_are_named_and_long_chains_are_none() -> None:
    chain = [uuid4() for _ in range(200)]
    needs.refuse_circles({job: [need] for need, job in itertools.pairwise(chain)})
    with pytest.raises(needs.CircularNeeds, match=str(chain[0])):
        needs.refuse_circles({chain[0]: [chain[1]], chain[1]: [chain[2]], chain[2]: [chain[0]]})
