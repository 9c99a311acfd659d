"""Plots are well-formed pictures that repeat exactly and take names as they come."""

from xml.etree import ElementTree

import pytest

from segsmith_evaluator.report import plots
from segsmith_evaluator.report.facts import Estimate
from tests.unit.evaluator.report.drawn_report import drawn_facts


def texts(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())  # noqa: S314 - our own plot, no stranger's file


def test_loss_curves_name_each_model() -> None:
    shown = texts(plots.loss_curves(drawn_facts().models))
    assert "Diff, cluster 1" in shown
    assert "Diff, cluster 2" in shown
    assert "images seen" in shown


def test_loss_curves_of_forty_models_still_fit() -> None:
    model = drawn_facts().models[0]
    many = [model.model_copy(update={"cluster": index}) for index in range(40)]
    assert "cluster 40" in texts(plots.loss_curves(many))


def test_a_name_with_formula_or_markup_in_it_stays_a_name() -> None:
    row = plots.Row("$x^2$ <b> & co", Estimate.of_mean([0.4, 0.5, 0.6]), (0.4, 0.5, 0.6))
    assert "$x^2$ <b> & co" in texts(plots.dots_and_intervals([plots.Panel("a $test$", (row,))], "IoU"))


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_every_test_set_gets_a_panel(panels: int) -> None:
    row = plots.Row("real", Estimate.of_mean([0.5]))
    shown = texts(plots.dots_and_intervals([plots.Panel(f"set {n}", (row,)) for n in range(panels)], "IoU"))
    assert all(f"set {n}" in shown for n in range(panels))


def test_the_same_figures_give_the_same_picture() -> None:
    models = drawn_facts().models
    assert plots.loss_curves(models) == plots.loss_curves(models)


def test_silhouettes_are_drawn_against_k() -> None:
    shown = texts(plots.silhouettes({2: 0.2, 10: 0.15}, 10))
    assert "silhouette" in shown
    assert "10" in shown


def test_a_histogram_shows_real_pairs_samples_and_the_threshold() -> None:
    panel = plots.Shares("Diff-1", {"real pairs": [0.8, 0.9, 1.0], "Diff-1": [0.0, 0.9]}, 0.7)
    shown = texts(plots.histograms([panel, plots.Shares("Diff-2", panel.values)], "Dice"))
    for text in ("real pairs, n = 3", "Diff-1, n = 2", "threshold", "Diff-2"):
        assert text in shown
