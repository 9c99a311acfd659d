"""A step that does nothing but what its spec says: for tests, benchmarks and smoke checks of an installation."""

import os
import signal
import time
from uuid import UUID, uuid4

from pydantic import BaseModel, Field

from segsmith_shared.database.tables import Job, JobKind
from segsmith_shared.jobs.context import Finished, FollowUp, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.problems import InvalidInput


class ProbeSpec(BaseModel):
    """`slices` slices of `steps` steps each. A step number counts over all slices, from 0."""

    steps: int = Field(1, ge=0)
    seconds_per_step: float = Field(0.0, ge=0)
    slices: int = Field(1, ge=1)
    slice_seconds: float | None = None
    allocate_bytes: int = Field(0, ge=0)
    problem_at: int | None = Field(None, description="this step raises a Problem: the input is at fault")
    fail_at: int | None = Field(None, description="this step raises an error nobody foresaw")
    crash_at: int | None = Field(None, description="this step kills its own process")
    deaf: bool = Field(False, description="never asks whether to stop")
    follow_ups: int = Field(0, ge=0, description="jobs to add when finished")
    needed_by: list[UUID] = Field(default_factory=list, description="waiting jobs that then need those, too")


class ProbeRefused(InvalidInput):
    """The problem that a probe raises when told to."""

    title = "The probe was told to refuse"


def run(context: StepContext) -> Outcome:
    """Take the steps of this slice; the outputs tell how many steps all slices took, and in how many processes."""
    spec = ProbeSpec.model_validate(context.spec)
    state = context.slice_state or {"step": 0, "processes": []}
    step, processes = state["step"], [*state["processes"], os.getpid()]
    ballast = bytearray(os.urandom(4096) * (spec.allocate_bytes // 4096))
    context.message("probing", pid=os.getpid(), step=step)
    end = spec.steps * (context.slice_number + 1)
    while step < end:
        if not spec.deaf and context.stop_requested():
            return Stopped({"step": step, "processes": processes})
        _misbehave(spec, step)
        time.sleep(spec.seconds_per_step)
        step += 1
        context.progress(step, spec.steps * spec.slices, "steps", ballast_bytes=len(ballast))
    if context.slice_number + 1 < spec.slices:
        return SliceDone({"step": step, "processes": processes})
    return Finished({"steps": step, "processes": processes}, follow_ups=_follow_ups(context, spec))


def _misbehave(spec: ProbeSpec, step: int) -> None:
    if step == spec.problem_at:
        raise ProbeRefused(f"Step {step} was told to refuse.", hint="Tell it otherwise.")
    if step == spec.fail_at:
        raise RuntimeError(f"step {step} was told to fail")
    if step == spec.crash_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _follow_ups(context: StepContext, spec: ProbeSpec) -> list[FollowUp]:
    return [
        FollowUp(
            Job(id=uuid4(), kind=JobKind.PROBE, name=f"follow-up {number}", queue=context.claim.queue),
            needs=[context.job_id],
            needed_by=spec.needed_by,
        )
        for number in range(spec.follow_ups)
    ]
