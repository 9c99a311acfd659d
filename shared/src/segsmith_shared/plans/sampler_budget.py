"""What to do with a given number of U-Net evaluations: which levels, which jumps, by which sampler."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from segsmith_shared.plans.jump_schedule import count_evaluations
from segsmith_shared.plans.presets import Preset
from segsmith_shared.problems import InvalidInput

LEVELS_PER_VISIT = 40
"""The paper's balance: 200 levels at 5 visits, in jumps of a twentieth of the levels."""
SHARE_OF_LEVELS_IN_A_JUMP = 20
FEWEST_LEVELS_WITH_JUMPS = 40
"""Below, jumps would leave each level a step too large to take: all evaluations go into levels."""


class BudgetTooSmall(InvalidInput):
    """No sampler of this model works on so few evaluations."""

    title = "The budget is too small"


@dataclass(frozen=True)
class SamplerProposal:
    """One way to spend at most the budget; `overrides` are the fields of a preset that ask for it."""

    sampler: str
    evaluations: int
    overrides: dict[str, Any]
    why: str


def propose_samplers(preset: Preset, budget: int) -> list[SamplerProposal]:
    """Ways to sample a model of this preset with at most `budget` evaluations per sample, the likeliest best first.

    Raises BudgetTooSmall under 2 evaluations.
    """
    if budget < 2:
        raise BudgetTooSmall(f"{budget} evaluations are too few.", hint="Give at least 2; 20 to 50 are usual.")
    if preset.training.inpainting_aware:
        return [_known_clean(budget)]
    if preset.diffusion.schedule != "linear":
        return list(_blended(preset, budget))
    walk = _walk(preset, budget)
    return ([walk] if walk else []) + list(_blended(preset, budget))


def _known_clean(budget: int) -> SamplerProposal:
    overrides = {"sampling.sampler": "ancestral_known_clean", "sampling.evaluations": budget}
    why = "the model sees the known pixels clean: no jumps are needed"
    return SamplerProposal("ancestral_known_clean", budget, overrides, why)


def _walk(preset: Preset, budget: int) -> SamplerProposal | None:
    """RePaint's walk with its own balance of levels and visits that comes nearest to the budget from below."""
    best: tuple[float, int, int, int, int] | None = None
    for levels in range(FEWEST_LEVELS_WITH_JUMPS, min(budget, preset.diffusion.timesteps) + 1, 10):
        length = max(1, round(levels / SHARE_OF_LEVELS_IN_A_JUMP))
        visits = 1 + (budget - levels) // (length * max(1, -(-(levels - length) // length)))
        cost = count_evaluations(levels, length, visits)
        imbalance = abs(math.log(levels / visits / LEVELS_PER_VISIT))
        unspent = 1 - cost / budget
        candidate = (imbalance + 2 * unspent, levels, length, visits, cost)
        best = min(best, candidate) if best else candidate
    if best is None or best[3] < 2:
        return None
    _, levels, length, visits, cost = best
    overrides = {
        "sampling.sampler": "repaint",
        "sampling.respaced_steps": levels,
        "sampling.jump_length": length,
        "sampling.jump_visits": visits,
    }
    return SamplerProposal("repaint", cost, overrides, f"the paper's balance of {LEVELS_PER_VISIT} levels to a visit")


def _blended(preset: Preset, budget: int) -> Iterator[SamplerProposal]:
    levels = min(budget, preset.diffusion.timesteps)
    common = {
        "sampling.sampler": "blended",
        "sampling.respaced_steps": levels,
        "sampling.jump_length": 1,
        "sampling.jump_visits": 1,
    }
    for stochasticity, why in ((1.0, "fresh noise repairs seams"), (0.0, "deterministic: bears the fewest levels")):
        yield SamplerProposal("blended", levels, {**common, "sampling.stochasticity": stochasticity}, why)
