"""The page is complete in itself, escapes what strangers named, and says what is missing or stands in."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from segsmith_evaluator.metrics.figures import Figure
from segsmith_evaluator.report import metric_views
from segsmith_evaluator.report.facts import Estimate, EvaluationFacts, Facts, JudgementFacts
from segsmith_evaluator.report.page import render_page
from segsmith_evaluator.report.picking import groups_per_set
from segsmith_evaluator.report.pictures import Pictures, SampleGroup, SetPictures
from tests.unit.evaluator.report.drawn_report import (
    drawn_facts,
    drawn_findings,
    drawn_group,
    drawn_job,
    drawn_judgement,
    drawn_metrics,
    drawn_pictures,
    drawn_study,
)

VOID = {"meta", "img", "br", "image", "path", "use", "link", "input", "hr"}


class Reading(HTMLParser):
    """What a reader's browser would see: text, ids, addresses, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(drawn_facts(), drawn_pictures())


@pytest.fixture(scope="module")
def reading(page: str) -> Reading:
    return Reading(page)


def read(facts: Facts, pictures: Pictures | None = None) -> Reading:
    return Reading(render_page(facts, pictures or Pictures()))


def test_the_page_asks_for_nothing_from_outside(reading: Reading, page: str) -> None:
    assert all(address.startswith(("data:image/", "#")) for address in reading.addresses)
    assert "script" not in reading.tags
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_every_link_of_the_contents_leads_somewhere(reading: Reading) -> None:
    assert len(reading.ids) == len(set(reading.ids))
    targets = {address[1:] for address in reading.addresses if address.startswith("#")}
    assert len(targets) > 10
    assert targets <= set(reading.ids)


def test_every_element_is_closed(reading: Reading) -> None:
    assert reading.open == []


def test_figures_stand_with_their_intervals_and_counts(reading: Reading) -> None:
    for figure in ("95.6 %", "31.4", "28.3 to 34.5", "0.760", "0.735 to 0.785", "n = 30", "19 200", "612 MiB"):
        assert figure in reading.words


def test_stand_ins_carry_a_badge(reading: Reading) -> None:
    assert "stand-in" in reading.words
    assert "built-in-384" in reading.words


def test_a_run_on_real_features_and_pairs_carries_none() -> None:
    facts = drawn_facts(clusterings=())
    real = tuple(part.model_copy(update={"drawn": False}) for part in facts.parts)
    evaluations = tuple(e.model_copy(update={"metrics": drawn_metrics(stand_in=False)}) for e in facts.evaluations)
    judgements = (JudgementFacts(label="Diff-sample-1", judgement=drawn_judgement(stand_in=False)),)
    changes = {"parts": real, "evaluations": evaluations, "judgements": judgements}
    assert "stand-in" not in read(facts.model_copy(update=changes)).words


def test_published_figures_come_with_their_condition(reading: Reading) -> None:
    assert "36.0, 37.9, 37.8" in reading.words
    assert "same protocol" in reading.words


def test_samples_are_never_called_anonymous_without_a_not(reading: Reading) -> None:
    assert "derived from" in reading.words
    assert re.findall(r"\w+ anonymous", reading.words) == ["never anonymous"]


def test_the_page_says_on_what_every_comparison_rests(reading: Reading) -> None:
    for text in (
        "Every arm trains, validates and is scored at 48 × 48 px; synthetic pictures are drawn at 48 px.",
        "does best on the same 22 real validation pairs",
        "Training budget of each recipe: images seen by all its networks together.",
        "against halves of the real pairs",
        "no bound",
    ):
        assert text in reading.words


def test_sets_of_different_sizes_stand_beside_halves_of_their_own_size_in_either_order() -> None:
    small = {"real_halves_fid": Figure(value=80.0, n=12), "matched_fid": Figure(value=78.0, n=12)}
    items = [
        EvaluationFacts(label="large", metrics=drawn_metrics()),
        EvaluationFacts(label="small", metrics=drawn_metrics().model_copy(update=small)),
    ]
    for order in (items, items[::-1]):
        rows = metric_views.context(drawn_facts(evaluations=tuple(order)))["metric_rows"]
        halves = [row for row in rows if row.name == "real pairs, against the other half"]
        assert [row.n_real for row in halves] == [45, 12]
        assert [row.cells[0].estimate.value for row in halves] == pytest.approx([0.8 * drawn_metrics().fid.value, 80.0])


def test_arms_without_as_many_real_pairs_beside_them_negatives_and_vanished_lesions_are_named() -> None:
    study = drawn_study()
    arms = (*study.arms[:2], study.arms[2].model_copy(update={"reference": None}))
    counts = {"negatives": 16.0, "vanished": 3.0}
    scores = tuple(
        study.scores[0].model_copy(update={"metric": metric, "estimate": Estimate(value=value, n=1)})
        for metric, value in counts.items()
    )
    changed = study.model_copy(update={"arms": arms, "scores": (*study.scores, *scores)})
    words = read(drawn_facts(segmentation=changed)).words
    assert "No arm trains on as many real pairs alone as real + synthetic" in words
    assert "16 pictures of this set hold no lesion" in words
    assert "3 pictures left out: the lesion is too small" in words


def test_what_differs_from_the_authors_and_what_a_plan_noted_stand_on_the_page() -> None:
    facts = drawn_facts()
    plan = facts.pipeline.plan | {"notes": ["Recipes see different numbers"], "differs_from_authors": ["sampling.x: 1"]}
    words = read(drawn_facts(pipeline=facts.pipeline.model_copy(update={"plan": plan}))).words
    assert "Recipes see different numbers" in words
    assert "sampling.x: 1" in words


def test_near_copies_stand_beside_what_the_same_thresholds_flag_among_real_pictures(reading: Reading) -> None:
    for text in (
        "2 of 86 samples of Diff-sample-1 are near-copies of a training picture.",
        "2 near-copies among 86 samples",
        "training pictures, as if they were Diff-sample-1",
        "the region shows drawn-0007, its own source; likeness 0.96",
        "the region shows drawn-0031, mirrored; likeness 0.91",
        "AuthPct, redrawn region",
    ):
        assert text in reading.words


def test_near_copies_that_were_dropped_are_said_to_be_and_a_sheet_without_room_is_named() -> None:
    metrics = drawn_metrics().model_copy(update={"memorisation": drawn_findings(dropped=True)})
    evaluations = tuple(item.model_copy(update={"metrics": metrics}) for item in drawn_facts().evaluations)
    words = read(drawn_facts(evaluations=evaluations)).words
    assert "left out of the set" in words
    assert "closest-Diff-sample-1.png" in words


def test_a_set_from_before_there_was_a_copy_check_is_not_said_to_be_free_of_copies() -> None:
    metrics = drawn_metrics().model_copy(update={"memorisation": None})
    evaluations = tuple(item.model_copy(update={"metrics": metrics}) for item in drawn_facts().evaluations)
    assert "No set was checked for copies" in read(drawn_facts(evaluations=evaluations)).words


def test_agreement_of_samples_stands_beside_that_of_real_pairs_and_says_what_was_dropped(reading: Reading) -> None:
    for text in (
        "at a median Dice of 0.88, and with those of unseen real pairs at 0.87; 4 samples below 0.76 were left out.",
        "Diff-sample-1: 4 samples of 86 dropped",
        "real pairs, judged like Diff-sample-1",
        "the 5.0 % quantile of 90 unseen real pairs",
        "drawn-0003~1: Dice 0.15",
        "encoders with random initial weights",
    ):
        assert text in reading.words


def test_a_gate_that_only_scores_claims_no_threshold_and_a_run_without_one_no_agreement() -> None:
    scored = JudgementFacts(label="Diff-sample-1", judgement=drawn_judgement(quantile=None))
    words = read(drawn_facts(judgements=(scored,))).words
    assert "nothing was dropped" in words
    assert "left out." not in words
    assert "agreement-Diff-sample-1.png" in words  # no room for the sheet: its file is named
    assert "No set went before a quality gate" in read(drawn_facts(judgements=())).words


def test_a_hostile_name_stays_text() -> None:
    hostile = "<script>alert(1)</script> $x$ {{ 7 * 7 }}"
    facts = drawn_facts()
    parts = tuple(part.model_copy(update={"dataset": hostile, "import_words": hostile}) for part in facts.parts)
    pipeline = facts.pipeline.model_copy(update={"name": hostile, "spec": {hostile: hostile}})
    reading = read(facts.model_copy(update={"parts": parts, "pipeline": pipeline}), drawn_pictures(2))
    assert "script" not in reading.tags
    assert reading.words.count(hostile) >= 4


def test_a_failed_job_is_told_with_its_reason_and_advice() -> None:
    problem = {"title": "The loss is not finite", "detail": "at image 320", "hint": "Lower the learning rate."}
    failed = drawn_job("train", "train Diff, cluster 1 of 2", "failed", problem)
    reading = read(drawn_facts(jobs=(failed,)))
    for text in ("did not succeed", "train Diff, cluster 1 of 2", *problem.values()):
        assert text in reading.words


def test_a_run_that_ended_early_still_has_a_page() -> None:
    reading = read(
        drawn_facts(sets=(), clusterings=(), models=(), evaluations=(), segmentation=None, jobs=()),
    )
    for text in (
        "No set was generated",
        "No set was evaluated",
        "No segmentation model",
        "No diffusion model was trained",
    ):
        assert text in reading.words


def test_classes_have_a_colour_a_legend_and_figures_of_their_own() -> None:
    facts = drawn_facts()
    study = facts.segmentation
    assert study is not None
    scar = study.scores[0].model_copy(update={"metric": "dice[<scar>]", "estimate": Estimate(value=0.123, n=1)})
    parts = tuple(part.model_copy(update={"class_names": ("polyp", "<scar>")}) for part in facts.parts)
    told = study.model_copy(update={"class_names": ("<scar>",), "scores": (*study.scores, scar)})
    groups = tuple(drawn_group(index) for index in range(2))
    second = replace(groups[1], sample_label=groups[1].sample_label * np.uint8(2))
    pictures = Pictures((SetPictures("Diff-sample-1", (groups[0], second)),))

    page = render_page(facts.model_copy(update={"parts": parts, "segmentation": told}), pictures)

    words = Reading(page).words
    assert "polyp <scar> redraw region" in words
    assert "polyp, <scar>" in words
    assert "0.123" in words
    assert page.count('class="label" style="--label: #fff040"') == 1
    assert page.count('class="label" style="--label: #40ff60"') == 3


def test_labels_that_tell_no_classes_apart_are_called_lesions(reading: Reading, page: str) -> None:
    assert "label (lesion) redraw region" in reading.words
    assert "Class by class" not in reading.words
    assert "#fff040" not in page


def test_rejected_samples_are_shown_with_their_reason(reading: Reading) -> None:
    assert "1 rejected sample, and why" in reading.words
    assert "without a lesion" in reading.words


@pytest.mark.parametrize(("sets", "side_px"), [(1, 48), (2, 128), (6, 128), (3, 256), (12, 64)])
def test_pictures_that_cannot_be_compressed_stay_under_eight_megabytes(sets: int, side_px: int) -> None:
    facts = drawn_facts()
    labels = [f"Diff-{number}" for number in range(1, sets + 1)]
    groups = (noisy_group(side_px),) * groups_per_set(side_px, sets)
    of_sets = tuple(facts.sets[0].model_copy(update={"label": label}) for label in labels)
    page = render_page(drawn_facts(sets=of_sets), Pictures(tuple(SetPictures(label, groups) for label in labels)))
    assert len(page) < 8_000_000


def noisy_group(side_px: int) -> SampleGroup:
    rng = np.random.Generator(np.random.PCG64(0))
    noise = rng.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    disc = np.hypot(*(np.mgrid[:side_px, :side_px] - side_px / 2)) < side_px / 4
    return SampleGroup(noise, disc, disc, noise, disc, "noise")


def test_the_same_run_gives_the_same_page(page: str) -> None:
    assert render_page(drawn_facts(), drawn_pictures()) == page
