"""The command line says how labels are read, and its exit code whether the set can be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from segsmith.command import app
from segsmith.command.request import RunOptions, side_px
from tests.fixtures.label_sets import grey, lesion, save_set

COUNT = 4


@pytest.fixture
def inverted(tmp_path: Path) -> str:
    """Four pairs whose lesions are black on white."""
    save_set(tmp_path, {f"p{index}": grey(~lesion(index) * np.uint8(255)) for index in range(COUNT)})
    return str(tmp_path)


def checked(*arguments: str) -> tuple[int, dict[str, object]]:
    result = CliRunner().invoke(app, ["dataset", "check", *arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_a_strict_check_ends_with_one_where_a_plain_one_only_warns(inverted: str) -> None:
    exit_code, report = checked(inverted)
    assert (exit_code, report["refused"]) == (0, [])
    exit_code, report = checked(inverted, "--strict")
    assert (exit_code, report["refused"]) == (1, ["labels-inverted"])
    exit_code, report = checked(inverted, "--strict", "--foreground", "0")
    assert (exit_code, report["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--foreground", "0", "--classes", "polyp=1"], "--foreground excludes --classes and --labels"),
        (["--foreground", "255", "--labels", "binary"], "--foreground excludes --classes and --labels"),
        (["--labels", "palette", "--classes", "polyp=1"], "--classes excludes --labels palette"),
        (["--foreground", "black"], "'black' is no value and no colour"),
        (["--preset", "huge"], "huge"),
    ],
)
def test_options_that_cannot_be_meant_are_one_line_and_exit_code_one(
    inverted: str, options: list[str], words: str
) -> None:
    result = CliRunner().invoke(app, ["dataset", "check", inverted, *options])
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_lesions_that_vanish_are_counted_at_the_preset_s_side_or_the_one_that_is_given(tmp_path: Path) -> None:
    label = np.zeros((480, 640), np.uint8)
    label[101:104, 201:204] = 255
    save_set(tmp_path, {f"p{index}": grey(np.roll(label, 37 * index, axis=1)) for index in range(COUNT)})
    for index, file in enumerate(sorted((tmp_path / "images").iterdir())):
        grey(np.full((480, 640), 90 + 10 * index, np.uint8)).save(file)
    _, report = checked(str(tmp_path), "--side", "640")
    assert "lesions-vanish" not in str(report["findings"])
    _, by_side = checked(str(tmp_path), "--side", "48")
    _, by_preset = checked(str(tmp_path), "--preset", "tiny-cpu")
    assert "lesions-vanish" in str(by_side["findings"])
    assert by_preset["findings"] == by_side["findings"]


def test_a_run_counts_them_at_the_side_of_its_preset_with_what_is_set_beside_it() -> None:
    assert side_px(RunOptions(preset="tiny-cpu")) == 48
    assert side_px(RunOptions(preset="tiny-cpu", overrides={"network.side_px": 32})) == 32
