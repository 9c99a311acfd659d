"""A request for a quality gate is planned or refused, and what came of one is read back, also by the Python client."""

from typing import Any
from uuid import UUID

from segsmith import Client
from segsmith.command.tables import agreement_summary
from segsmith_shared.database.tables import Job, Judge, SetJudgement
from segsmith_shared.pairs.agreement import Judgement
from tests.fixtures.api_room import ApiRoom
from tests.unit.evaluator.report.drawn_report import drawn_judgement


def wanted(version_id: UUID, gate: dict[str, Any] | None) -> dict[str, Any]:
    spec = {
        "pairs": {"version_id": str(version_id)},
        "segmentation": None,
        "clustering": {"k": 2},
        "allow_stand_ins": True,
    }
    return {**spec, "quality_gate": gate}


def test_a_gate_is_part_of_the_plan_and_a_bad_one_is_refused_at_its_field(room: ApiRoom) -> None:
    version_id = room.version([f"p{place}" for place in range(20)])
    plan = room.client.post("/v1/pipelines?dry_run=true", json=wanted(version_id, {"folds": 2})).json()
    assert [job["name"] for job in plan["jobs"] if job["kind"] == "judge"] == ["judge 1/2", "judge 2/2"]
    refused = room.client.post("/v1/pipelines", json=wanted(version_id, {"minimum_agreement_quantile": 2}))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].endswith("/quality_gate/minimum_agreement_quantile")
    scarce = room.client.post("/v1/pipelines", json=wanted(version_id, {"minimum_agreement_quantile": 0.01}))
    assert (scarce.status_code, scarce.json()["type"]) == (422, "/problems/dataset-too-small")
    assert "99 pairs" in scarce.json()["hint"]


def test_judges_and_judgements_of_a_pipeline_are_read_back_by_the_client(room: ApiRoom) -> None:
    version_id, pipeline_id = room.version(["a"]), room.pipeline()
    job = Job(pipeline_id=pipeline_id, kind="judge", queue="gpu", name="judge 1/2")
    room.add(job)
    held_out = {"some pair": {"name": "a", "dice": 0.9, "iou": 0.82}}
    findings = drawn_judgement().model_dump(mode="json")
    judge = Judge(job_id=job.id, fold=0, folds=2, held_out=held_out, checkpoint_digest="ab" * 32)
    room.add(
        judge, SetJudgement(job_id=job.id, synthetic_version_id=version_id, label="Diff-sample-1", findings=findings)
    )
    with Client(room.url, room.key) as client:
        (shown,) = client.judges.list(pipeline_id=pipeline_id)
        (found,) = client.judgements.list(pipeline_id=pipeline_id)
        assert client.judgements.get(found.id) == found
        assert list(client.judgements.list(pipeline_id=room.pipeline("another"))) == []
    assert (shown.id, shown.fold, shown.folds) == (judge.id, 0, 2)
    assert Judgement.model_validate(found.findings) == drawn_judgement()
    assert agreement_summary([found])[0]["dropped"] == 4
    assert room.client.get(f"/v1/judges/{judge.id}").json()["held_out"] == held_out
