"""Facts and pictures become one HTML page that opens from disk, asks for nothing and prints well."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from segsmith_evaluator.report import agreement_views, copy_views, metric_views, views, words
from segsmith_evaluator.report.facts import Facts
from segsmith_evaluator.report.key_figures import key_figures
from segsmith_evaluator.report.pictures import Pictures


def render_page(facts: Facts, pictures: Pictures) -> str:
    """The whole page. Every name in it may come from outside, so the template escapes all it prints."""
    sets = views.set_views(facts, pictures.sets)
    context = {
        "facts": facts,
        "sections": _sections(sets, facts),
        "summary": words.summary(facts),
        "stand_ins": words.stand_ins(facts),
        "key_figures": list(key_figures(facts)),
        "sets": sets,
        "legend": views.legend(facts),
        "any_classes": any(part.class_names for part in facts.parts),
        "any_labels": any(item.labels for item in facts.sets),
        "any_styled": any(item.styling for item in facts.sets),
        "any_fit": any(item.labels and item.labels.fit is not None for item in facts.sets),
        "clusterings": views.clustering_views(facts, pictures.clusters),
        "loss_plots": list(views.loss_plots(facts)),
        "costs": views.cost_rows(facts),
        "plan_notes": facts.pipeline.plan.get("notes", []),
        "differs_from_authors": facts.pipeline.plan.get("differs_from_authors", []),
        "planned_cost": facts.pipeline.plan.get("cost", []),
        "parameters": list(views.parameter_blocks(facts)),
        "import_reports": views.import_reports(facts),
        "provenance_parts": views.provenance_parts(facts),
        **metric_views.context(facts),
        **copy_views.context(facts, pictures),
        **agreement_views.context(facts, pictures),
        **_study(facts),
    }
    return _environment().get_template("report.html.j2").render(context)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("segsmith_evaluator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count,
        "counted": words.counted,
        "interval": words.interval,
        "moment": _moment,
        "number": words.number,
        "reason": words.reason,
        "seconds": words.seconds,
        "size": words.size,
    }
    return environment


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _sections(sets: list[views.SetView], facts: Facts) -> list[dict[str, Any]]:
    tests = facts.segmentation.tests if facts.segmentation else ()
    subs = {
        "samples": [{"id": view.id, "title": view.facts.label} for view in sets],
        "segmentation": [{"id": f"test-{index}", "title": test} for index, test in enumerate(tests)],
    }
    titles = {
        "summary": "In short",
        "samples": "Synthetic pairs",
        "metrics": "Likeness and diversity",
        "copies": "Copies of training pictures",
        "agreement": "Agreement of picture and label",
        "segmentation": "Segmentation",
        "data": "Data",
        "clusters": "Clusters",
        "training": "Training",
        "costs": "What it cost",
        "parameters": "Every parameter",
        "provenance": "Provenance and versions",
        "terms": "Terms and privacy",
    }
    return [{"id": id_, "title": title, "subs": subs.get(id_, [])} for id_, title in titles.items()]


def _study(facts: Facts) -> dict[str, Any]:
    study = facts.segmentation
    parts = {part.name: part for part in facts.tests}
    tests = [
        {"id": f"test-{index}", "name": test, "n": parts[test].n, "drawn": parts[test].drawn}
        if test in parts
        else {"id": f"test-{index}", "name": test, "n": 0, "drawn": False}
        for index, test in enumerate(study.tests if study else ())
    ]
    return {
        "study": study,
        "study_tests": tests,
        "study_plot": views.study_plot(facts),
        "study_parameters": _study_parameters(facts),
        "resolution": words.resolution(facts),
        "verdicts": [verdict for test in study.tests if (verdict := words.verdict(study, test))] if study else [],
        "metric_names": words.METRIC_NAMES,
        "metric_notes_by_name": words.METRIC_NOTES,
    }


def _study_parameters(facts: Facts) -> str:
    """The few settings a reader of the arms' table needs; all of them stand further below."""
    if facts.segmentation is None:
        return ""
    parameters = facts.segmentation.parameters
    shown = {"architecture": "", "encoder": "encoder", "encoder_weights": "encoder weights", "side_px": "side in px"}
    parts = [f"{name} {parameters[key] or 'none'}".strip() for key, name in shown.items() if key in parameters]
    return f"{'; '.join(parts)}." if parts else ""
