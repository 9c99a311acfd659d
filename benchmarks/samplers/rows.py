"""The rows of the table: a sampler with its settings, and the models it draws with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from segsmith_shared.plans.cost import whole_evaluations_per_sample
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
        """U-Net evaluations of one sample, one at half the side counting as its share of the operations."""
        return 0 if trained is None else whole_evaluations_per_sample(self.preset(trained))


def _aware(name: str, what: str, *, models: str = "aware-cluster", order: int = 1, **sampling: Any) -> Row:
    fields = {"sampler": "ancestral_known_clean", "stochasticity": 1.0, "order": order}
    return Row(name, models, {**fields, **sampling}, what)


def _repaint(name: str, steps: int, length: int, visits: int, label_core: float = 0.0) -> Row:
    jumps = {"respaced_steps": steps, "jump_length": length, "jump_visits": visits, "label_core": label_core}
    core = f", core {label_core:g}" if label_core else ""
    return Row(name, "plain", {"sampler": "repaint", **jumps}, f"RePaint, T {steps}, j {length}, r {visits}{core}")


def _blended(name: str, steps: int, stochasticity: float, what: str, **more: Any) -> Row:
    levels = {"respaced_steps": steps, "jump_length": 1, "jump_visits": 1} | more
    return Row(name, "plain", {"sampler": "blended", "stochasticity": stochasticity, **levels}, what)


def _langevin(name: str, levels: int, steps: int, what: str, *, models: str = "plain", **more: Any) -> Row:
    fields = {"respaced_steps": levels, "langevin_steps": steps, "langevin_renewal": 0.3, "langevin_guidance": 4.0}
    return Row(name, models, {"sampler": "langevin", "stochasticity": 1.0, **fields, **more}, what)


def _coarse_to_fine(name: str, models: str, coarse: int, fine: int, what: str, **more: Any) -> Row:
    fields = {"coarse_evaluations": coarse, "evaluations": fine, "jump_length": 1, "jump_visits": 1}
    return Row(name, models, {"sampler": "coarse_to_fine", "stochasticity": 1.0, **fields, **more}, what)


ROWS = (
    Row("real", None, {}, "the sources themselves, not redrawn"),
    _aware("aware-10", "known clean, 10", evaluations=10),
    _aware("aware-10-bent", "known clean, 10, order 2", evaluations=10, order=2),
    _aware("aware-20", "known clean, 20", evaluations=20),
    _aware("aware-20-bent", "known clean, 20, order 2", evaluations=20, order=2),
    _aware("aware-20-deterministic", "known clean, 20, deterministic", evaluations=20, stochasticity=0.0),
    _aware("aware-50", "known clean, 50", evaluations=50),
    _aware("aware-50-bent", "known clean, 50, order 2", evaluations=50, order=2),
    _aware("aware-one-20-bent", "known clean, 20, order 2, one model", models="aware-all", evaluations=20, order=2),
    _langevin("langevin-aware-20", 10, 1, "Langevin, 10 × (1 + 1), aware, order 2", models="aware-cluster", order=2),
    _coarse_to_fine("coarse-aware", "aware-cluster", 20, 10, "coarse 20, fine 10 from .5, aware", refined_from=0.5),
    _blended("blended-20", 20, 1.0, "blended, 20 levels, stochastic"),
    _blended("blended-20-deterministic", 20, 0.0, "blended, 20 levels, deterministic"),
    _blended("blended-20-core", 20, 1.0, "blended, 20 levels, stochastic, core .6", label_core=0.6),
    _blended("blended-92", 20, 1.0, "blended, T 20, j 2, r 5, stochastic", jump_length=2, jump_visits=5),
    _langevin("langevin-20-core", 10, 1, "Langevin, 10 × (1 + 1), core .6", label_core=0.6),
    _langevin("langevin-20-bent", 10, 1, "Langevin, 10 × (1 + 1), order 2, core .6", label_core=0.6, order=2),
    _langevin("langevin-60", 20, 2, "Langevin, 20 × (1 + 2)"),
    _langevin("langevin-60-core", 20, 2, "Langevin, 20 × (1 + 2), core .6", label_core=0.6),
    _langevin("langevin-60-bent", 20, 2, "Langevin, 20 × (1 + 2), order 2, core .6", label_core=0.6, order=2),
    _coarse_to_fine(
        "coarse-core", "plain", 40, 10, "coarse 40, fine 10 from .6, core .6", refined_from=0.6, label_core=0.6
    ),
    _repaint("repaint-210", 50, 10, 5),
    _repaint("repaint-960", 200, 10, 5),
    _repaint("repaint-960-core", 200, 10, 5, label_core=0.6),
)


def rows_named(names: str | None, precision: str = "auto") -> list[Row]:
    """The rows of these comma-separated names, or all, in this precision. Raises SystemExit naming an unknown one."""
    known = {row.name: row for row in ROWS}
    wanted = list(known) if names is None else names.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"There is no row {', '.join(unknown)}. There are: {', '.join(known)}.")
    in_precision = {} if precision == "auto" else {"precision": precision}
    return [replace(row, overrides={**row.overrides, **in_precision}) for row in (known[name] for name in wanted)]
