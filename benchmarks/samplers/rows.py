"""The rows of the table: a sampler with its settings, and the models it draws with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import Preset


@dataclass(frozen=True)
class Row:
    """`models` is a prefix of model files: `aware-cluster` of four clusters draws a model per sample by its seed.

    `overrides` are sampling fields. No models at all: the real sources stand in for samples, as the table's yardstick.
    """

    name: str
    models: str | None
    overrides: Mapping[str, Any]
    what: str

    def preset(self, trained: Preset) -> Preset:
        """How a model trained with this preset is sampled for the row."""
        return trained.with_overrides({"sampling": dict(self.overrides)})

    def evaluations(self, trained: Preset | None) -> float:
        """Whole U-Net evaluations of one sample."""
        return 0 if trained is None else evaluations_per_sample(self.preset(trained).sampling)


def _aware(name: str, what: str, *, models: str = "aware-cluster", **sampling: Any) -> Row:
    return Row(name, models, {"sampler": "ancestral_known_clean", "stochasticity": 1.0, **sampling}, what)


def _repaint(name: str, steps: int, length: int, visits: int) -> Row:
    jumps = {"respaced_steps": steps, "jump_length": length, "jump_visits": visits}
    return Row(name, "plain", {"sampler": "repaint", **jumps}, f"RePaint, T {steps}, j {length}, r {visits}")


def _blended(name: str, steps: int, stochasticity: float, what: str, length: int = 1, visits: int = 1) -> Row:
    jumps = {"respaced_steps": steps, "jump_length": length, "jump_visits": visits}
    return Row(name, "plain", {"sampler": "blended", "stochasticity": stochasticity, **jumps}, what)


ROWS = (
    Row("real", None, {}, "the sources themselves, not redrawn"),
    _aware("aware-10", "known clean, 10", evaluations=10),
    _aware("aware-20", "known clean, 20", evaluations=20),
    _aware("aware-20-deterministic", "known clean, 20, deterministic", evaluations=20, stochasticity=0.0),
    _aware("aware-50", "known clean, 50", evaluations=50),
    _aware("aware-100", "known clean, 100", evaluations=100),
    _aware("aware-one-20", "known clean, 20, one model on all pairs", models="aware-all", evaluations=20),
    _blended("blended-20", 20, 1.0, "blended, 20 levels, stochastic"),
    _blended("blended-20-deterministic", 20, 0.0, "blended, 20 levels, deterministic"),
    _blended("blended-50-deterministic", 50, 0.0, "blended, 50 levels, deterministic"),
    _blended("blended-jumps-92", 20, 1.0, "blended, T 20, j 2, r 5, stochastic", 2, 5),
    _repaint("repaint-210", 50, 10, 5),
    _repaint("repaint-960", 200, 10, 5),
)


def rows_named(names: str | None) -> list[Row]:
    """The rows of these comma-separated names, or all. Raises SystemExit naming one that there is not."""
    known = {row.name: row for row in ROWS}
    wanted = list(known) if names is None else names.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"There is no row {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [known[name] for name in wanted]
