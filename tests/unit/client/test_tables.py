"""What a person reads of a quality gate is what the server found."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rich.console import Console

from segsmith.command.tables import agreement_summary, agreement_table
from segsmith.values import Judgement


def judgement(label: str, threshold: float | None, *, stand_in: bool = True) -> Judgement:
    def pairs(*dice: float) -> list[dict[str, Any]]:
        return [{"name": "p", "fold": 0, "dice": value, "iou": value / (2 - value)} for value in dice]

    found = {"samples": pairs(0.1, 0.5, 0.9), "real": pairs(0.7, 0.8), "threshold": threshold, "stand_in": stand_in}
    now, id_ = datetime.now(UTC), uuid4()
    return Judgement(id=id_, job_id=id_, synthetic_version_id=id_, label=label, findings=found, created_at=now)


def test_judged_sets_are_told_with_real_pairs_beside_them_and_what_was_dropped() -> None:
    second, first = judgement("Diff-2", None, stand_in=False), judgement("Diff-1", 0.6)
    summary = agreement_summary([second, first])
    assert [told["set"] for told in summary] == ["Diff-1", "Diff-2"]
    assert summary[0]["dice_median"] == 0.5
    assert summary[0]["real_dice_median"] == 0.75
    assert [(told["dropped"], told["judged"]) for told in summary] == [(2, 3), (0, 3)]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(agreement_table(summary))
    lines = shown.get().splitlines()
    assert any("Diff-1" in line and "0.600" in line and "2 of 3" in line and "untrained" in line for line in lines)
    assert any("Diff-2" in line and "0 of 3" in line and "untrained" not in line for line in lines)
