"""The sentences say what the figures say."""

import pytest

from segsmith_evaluator.report import words
from segsmith_evaluator.report.facts import Estimate
from tests.unit.evaluator.report.drawn_report import drawn_facts, drawn_metrics, drawn_study


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.42, "0.4 s"), (9.99, "10 s"), (59.7, "1 min 0 s"), (724, "12 min 4 s"), (12_000, "3 h 20 min")],
)
def test_durations_read_as_a_person_says_them(value: float, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "–"), (512, "512 B"), (612 * 2**20, "612 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_memory_reads_in_binary_units_and_unknown_as_a_dash(value: int, text: str) -> None:
    assert words.size(value) == text


def test_lists_end_with_and() -> None:
    assert [words.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_an_interval_has_true_minus_signs() -> None:
    assert words.interval(Estimate(value=0, low=-0.25, high=0.5, n=3), 2) == "−0.25 to 0.50"


def test_drawn_pairs_and_built_in_features_are_called_stand_ins() -> None:
    sentences = " ".join(words.stand_ins(drawn_facts()))
    assert "built-in" in sentences
    assert "drawn by a program" in sentences
    assert "clusters" in sentences


def test_real_features_on_real_pairs_stand_in_for_nothing() -> None:
    facts = drawn_facts(clusterings=(), judgements=())
    real = tuple(part.model_copy(update={"drawn": False}) for part in facts.parts)
    evaluations = tuple(e.model_copy(update={"metrics": drawn_metrics(stand_in=False)}) for e in facts.evaluations)
    assert words.stand_ins(facts.model_copy(update={"parts": real, "evaluations": evaluations})) == []


def test_the_summary_names_what_was_made_and_what_was_refused() -> None:
    text = " ".join(words.summary(drawn_facts()))
    assert "86 of 90 samples accepted" in text
    assert "3 without a lesion and 1 lesion outside the redrawn region" in text
    assert "FID" in text
    assert "“real + synthetic”" in text


def test_a_run_without_models_says_so() -> None:
    text = " ".join(words.summary(drawn_facts(models=(), sets=(), evaluations=(), segmentation=None)))
    assert "No diffusion model was trained" in text


def test_a_difference_within_the_spread_of_seeds_is_not_called_one() -> None:
    study = drawn_study()
    blurred = tuple(
        d.model_copy(update={"estimate": Estimate(value=0.04, low=-0.02, high=0.1, n=3)}) for d in study.differences
    )
    text = words.verdict(study.model_copy(update={"differences": blurred}), "held-out")
    assert "no arm's IoU differs" in text


def test_a_difference_beyond_the_spread_of_seeds_is_named_with_its_interval() -> None:
    text = words.verdict(drawn_study(), "held-out")
    assert "“synthetic” is worse than “real” by −0.046 (95 % −0.056 to −0.036)" in text
    assert "“real + synthetic” is better than “real” by +0.044" in text


def test_one_seed_allows_no_verdict() -> None:
    assert "from chance" in words.verdict(drawn_study(seeds=1), "held-out")


@pytest.mark.parametrize(("value", "text"), [(31.42, "31.4"), (118.73, "118.7"), (0.02017, "0.0202"), (0.0, "0.0")])
def test_a_small_distance_is_not_rounded_to_nothing(value: float, text: str) -> None:
    assert words.distance(value) == text
