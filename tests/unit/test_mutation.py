"""The mutation tests: which changes they try, and that one is noticed exactly where a test looks at it."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.mutation.mutants import Mutant, mutants_of, replaced
from benchmarks.mutation.targets import TARGETS

MODULE = "benchmarks.mutation.targets"  # any small module that nothing here has changed
SOURCE = '''
Number = int | float


def bounded(value: int | None, limit: int = 3) -> int | None:
    """At most the limit."""
    if value is None:
        raise ValueError("no value")
    if value > limit:
        value -= 1
    return value
'''


def changes(source: str) -> set[tuple[str, str]]:
    return {(each.before, each.after) for each in mutants_of(source)}


def test_conditions_numbers_and_statements_are_changed() -> None:
    assert {
        ("if value > limit:", "if value >= limit:"),
        ("if value is None:", "if value is not None:"),
        ("value -= 1", "value -= 2"),
        ("value -= 1", "pass"),
        ('raise ValueError("no value")', "pass"),
    } <= changes(SOURCE)


def test_types_are_left_as_they_are() -> None:
    assert all("&" not in after for _, after in changes(SOURCE))


def test_docstrings_are_not_statements_to_drop() -> None:
    assert all("At most" not in before for before, _ in changes(SOURCE))


def test_every_change_still_compiles_and_is_one_change() -> None:
    mutants = mutants_of(SOURCE)
    for each in mutants:
        compile(each.source, "changed", "exec")
    assert len({each.source for each in mutants}) == len(mutants)


def test_a_change_by_hand_that_no_longer_fits_the_module_is_an_error() -> None:
    assert replaced("a = 1\nb = 2\n", "b = 2", "b = 3") == Mutant("by hand", 2, "b = 2", "b = 3", "a = 1\nb = 3\n")
    with pytest.raises(ValueError, match="stands 0 times"):
        replaced("a = 1\n", "b", "c")
    with pytest.raises(ValueError, match="stands 2 times"):
        replaced("a = a\n", "a", "c")


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_module_tests_and_changes_that_fit(name: str) -> None:
    target = TARGETS[name]
    spec = importlib.util.find_spec(target.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    assert all(Path(test).exists() for test in target.tests)
    for before, after in target.by_hand:
        compile(replaced(source, before, after).source, target.module, "exec")


RUN = """
import json, sys
import pytest, schemathesis  # before forking
from benchmarks.mutation.running import Trial, run_trials
trials = [Trial(**each) for each in json.load(sys.stdin)]
print(json.dumps([outcome for _, outcome, _, _ in sorted(run_trials(trials, jobs=2))]))
"""


def outcomes(tmp_path: Path, test: str, sources: Sequence[str], timeout_s: float = 60) -> list[str]:
    """What became of each source under this test; in a process of its own, because it forks."""
    file = tmp_path / "test_changed.py"
    file.write_text(test)
    trials = [{"module": MODULE, "source": each, "tests": [str(file)], "timeout_s": timeout_s} for each in sources]
    found = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(trials), capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    printed: list[str] = json.loads(found.stdout)
    return printed


def test_a_change_is_noticed_only_by_a_test_that_looks_at_it(tmp_path: Path) -> None:
    test = f"from {MODULE} import ANSWER\n\ndef test_it() -> None:\n    assert ANSWER == 42\n"
    before = sorted(Path(__file__).parents[2].joinpath("benchmarks/mutation").glob("*.py"))
    texts = [file.read_text() for file in before]

    assert outcomes(tmp_path, test, ["ANSWER = 42", "ANSWER = 43", "ANSWER = 42 + 0", "no python"]) == [
        "survived",
        "killed",
        "survived",
        "killed",
    ]
    assert [file.read_text() for file in before] == texts


def test_a_change_that_never_ends_is_stopped_with_its_fixtures_cleaned_up(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    test = (
        f"import pytest\nfrom pathlib import Path\nfrom {MODULE} import stuck\n\n"
        f"@pytest.fixture\ndef server():\n    yield\n    Path({str(trace)!r}).write_text('stopped')\n\n"
        "def test_it(server) -> None:\n    stuck()\n"
    )
    endless = "def stuck():\n    while True:\n        pass\n"

    assert outcomes(tmp_path, test, [endless], timeout_s=10) == ["timed out"]
    assert trace.read_text() == "stopped"


def test_no_test_to_run_is_an_error_and_not_a_survivor(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="TestsNotRun"):
        outcomes(tmp_path, "x = 1\n", ["ANSWER = 1"])
