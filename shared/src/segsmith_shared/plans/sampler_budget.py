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

LEVELS_UNDER_CORRECTION, FEWEST_LEVELS_UNDER_CORRECTION, MOST_CORRECTIONS = 20, 5, 20
LABEL_CORE = 0.6


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
    corrected = list(_langevin(preset, budget))
    if preset.training.inpainting_aware:
        return [_known_clean(budget), *corrected]
    if preset.diffusion.schedule != "linear":
        return [*corrected, *_blended(preset, budget)]
    walk = _walk(preset, budget)
    return [*corrected, *([walk] if walk else []), *_blended(preset, budget)]


def _known_clean(budget: int) -> SamplerProposal:
    overrides = {
        "sampling.sampler": "ancestral_known_clean",
        "sampling.evaluations": budget,
        "sampling.order": 2,
    }
    why = "the model sees the known pixels clean: no jumps are needed"
    return SamplerProposal("ancestral_known_clean", budget, overrides, why)


def _langevin(preset: Preset, budget: int) -> Iterator[SamplerProposal]:
    """Twenty levels, or as many as there are with one correction each; what is left over goes into corrections."""
    levels = min(LEVELS_UNDER_CORRECTION, budget // 2, preset.diffusion.timesteps)
    if levels < FEWEST_LEVELS_UNDER_CORRECTION:
        return
    steps = min(MOST_CORRECTIONS, budget // levels - 1)
    overrides: dict[str, Any] = {
        "sampling.sampler": "langevin",
        "sampling.respaced_steps": levels,
        "sampling.langevin_steps": steps,
        "sampling.order": 2,
    }
    why = "region and surroundings settle at every level"
    if not preset.training.inpainting_aware and preset.sampling.redraw == "lesion":
        overrides["sampling.label_core"] = LABEL_CORE
        why += "; the cores of lesions stay, so that none is closed over"
    yield SamplerProposal("langevin", levels * (1 + steps), overrides, why)


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
