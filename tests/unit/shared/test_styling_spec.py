"""Styling's knobs: a procedure brings its own, what is asked for beside it wins, and the cost is known beforehand."""

import json
from typing import Any

import pytest

from segsmith_shared.plans.styling import (
    PROCEDURE_STYLING,
    StylingOverrideRejected,
    StylingSpec,
    styling_cost,
)


@pytest.mark.parametrize("procedure", PROCEDURE_STYLING)
def test_a_spec_that_was_stored_reads_back_equal(procedure: str) -> None:
    spec = StylingSpec().with_overrides({"procedure": procedure, "vgg_below_t": 800})
    assert StylingSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


@pytest.mark.parametrize("procedure", PROCEDURE_STYLING)
def test_naming_a_procedure_is_enough_to_get_all_of_it(procedure: Any) -> None:
    spec = StylingSpec(procedure=procedure)
    assert spec == StylingSpec().with_overrides({"procedure": procedure})
    assert {name: getattr(spec, name) for name in PROCEDURE_STYLING[procedure]} == PROCEDURE_STYLING[procedure]


def test_both_procedures_fix_the_same_fields_and_nothing_else_differs() -> None:
    authors, corrected = StylingSpec(procedure="authors").model_dump(), StylingSpec().model_dump()
    differing = {name for name, value in authors.items() if value != corrected[name]}
    assert differing == {"procedure", *PROCEDURE_STYLING["authors"]}
    assert PROCEDURE_STYLING["authors"].keys() == PROCEDURE_STYLING["corrected"].keys()


def test_a_field_beside_the_procedure_wins_and_going_back_changes_nothing() -> None:
    authors = StylingSpec().with_overrides({"procedure": "authors", "label": "inpainted"})
    assert (authors.label, authors.l2_region, authors.colour_range) == ("inpainted", "all", "stretch")
    assert authors.with_overrides({"procedure": "corrected"}) == StylingSpec()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"style_wieght": 4}, "style_wieght"),
        ({"style_weight": -1}, "style_weight"),
        ({"zecon_temperature": float("nan")}, "zecon_temperature"),
        ({"style_side_px": 100}, "style_side_px"),
        ({"skipped_steps": 200}, "skipped_steps"),
        ({"procedure": "mine"}, "procedure"),
    ],
)
def test_an_impossible_override_is_refused_by_name(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(StylingOverrideRejected, match=named):
        StylingSpec().with_overrides(overrides)


def test_a_picture_costs_120_evaluations_and_as_many_gradients() -> None:
    cost = styling_cost(StylingSpec(batch=8), samples=10)
    assert (cost.forwards_per_sample, cost.backwards_per_sample) == (120, 120)
    assert (cost.forwards, cost.backwards) == (16 * 120, 16 * 120)


def test_an_inversion_and_encoder_passes_are_told_beforehand() -> None:
    spec = StylingSpec()
    assert styling_cost(spec.with_overrides({"start": "ddim_inversion"}), 1).forwards_per_sample == 239
    assert styling_cost(spec, 1).encoder_passes_per_sample == 240
    assert styling_cost(spec.with_overrides({"zecon_features": "x_t"}), 1).encoder_passes_per_sample == 120
    assert styling_cost(spec.with_overrides({"zecon_weight": 0}), 1).encoder_passes_per_sample == 0
