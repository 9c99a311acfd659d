"""Classes on the command line: what may be written, and what an offline check makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from segsmith.command import app
from segsmith.command.importing import parse_classes
from segsmith_shared.pairs.classes import WrongClasses


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("polyp=1,instrument=2", [{"name": "polyp", "value": 1}, {"name": "instrument", "value": 2}]),
        (" polyp = 7 , scar=300", [{"name": "polyp", "value": 7}, {"name": "scar", "value": 300}]),
        ("polyp,large scar", [{"name": "polyp", "value": 1}, {"name": "large scar", "value": 2}]),
        (
            "Background,polyp,tool",
            [{"name": "background", "value": 0}, {"name": "polyp", "value": 1}, {"name": "tool", "value": 2}],
        ),
        ("polyp=#FF0000,tool=#00ff00", [{"name": "polyp", "colour": "#ff0000"}, {"name": "tool", "colour": "#00ff00"}]),
    ],
)
def test_classes_are_written_by_value_by_colour_or_in_order(text: str, classes: list[dict[str, Any]]) -> None:
    assert parse_classes(text) == classes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least 1 character"),
        ("polyp,,tool", "at least 1 character"),
        ("polyp=1,tool", "each class a value"),
        ("polyp=", "each class a value"),
        ("polyp=1,tool=#00ff00", "each class a value"),
        ("polyp=red", "integer"),
        ("polyp=1,tool=1", "the value 1"),
        ("a,b,c,d,e,f,g,h,i", "9 classes"),
    ],
)
def test_what_cannot_be_classes_is_refused_with_a_reason_and_an_example(text: str, words: str) -> None:
    with pytest.raises(WrongClasses, match=words) as refused:
        parse_classes(text)
    assert "--classes polyp=1,instrument=2" in refused.value.hint


def test_an_offline_check_reads_labels_by_the_classes_that_are_given(tmp_path: Path) -> None:
    folder = str(tmp_path / "two")
    drawn = CliRunner().invoke(app, ["dataset", "draw", folder, "--pairs", "4", "--side", "48", "--classes", "2"])
    assert drawn.exit_code == 0, drawn.output
    by_list = json.loads(CliRunner().invoke(app, ["dataset", "check", folder, "--json"]).stdout)
    assert [each["name"] for each in by_list["classes"]] == ["polyp", "scar"]
    (tmp_path / "two" / "classes.json").unlink()
    unlisted = json.loads(CliRunner().invoke(app, ["dataset", "check", folder, "--json"]).stdout)
    advice = [finding["what_to_do"] for finding in unlisted["findings"] if finding["code"] == "several-values"]
    assert "--classes class1=1,class2=2" in advice[0]
    given = CliRunner().invoke(app, ["dataset", "check", folder, "--classes", "round=1,long=2"])
    assert given.exit_code == 0, given.output
    assert "Classes: round in" in given.stdout
