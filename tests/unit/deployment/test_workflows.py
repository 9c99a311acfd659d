"""What runs on somebody else's machines in our name: exact versions, and no rights that are not needed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXACT = re.compile(r"[\w.-]+/[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})")


def complaints(workflow: dict[str, Any]) -> list[str]:
    """What is wrong with a workflow."""
    found = [] if workflow.get("permissions") == {"contents": "read"} else ["it may do more than read"]
    for name, job in workflow["jobs"].items():
        found += [] if "timeout-minutes" in job else [f"{name} has no end"]
        found += [] if "permissions" not in job else [f"{name} takes rights of its own"]
        found += [] if re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"]) else [f"{name} runs on any machine"]
        for step in job["steps"]:
            if "uses" in step and not EXACT.fullmatch(step["uses"]):
                found.append(f"{step['uses']} is no exact version")
            if "checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
                found.append("the checkout leaves its token behind")
    return found


def small(**changes: Any) -> dict[str, Any]:
    """A workflow that is well but for the changes to its only job."""
    checkout = {"uses": "actions/checkout@v5.0.0", "with": {"persist-credentials": False}}
    job = {"runs-on": "ubuntu-24.04", "timeout-minutes": 5, "steps": [checkout]} | changes
    return {"permissions": {"contents": "read"}, "jobs": {"only": {k: v for k, v in job.items() if v is not None}}}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_exact_versions_and_may_only_read(path: Path) -> None:
    assert complaints(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout-minutes": None},
        {"permissions": {"contents": "write"}},
        {"runs-on": "ubuntu-latest"},
        {"steps": [{"uses": "actions/setup-python@v6"}]},
        {"steps": [{"uses": "actions/setup-python@main"}]},
        {"steps": [{"uses": "actions/checkout@v5.0.0"}]},
    ],
    ids=str,
)
def test_a_careless_workflow_is_refused(changes: dict[str, Any]) -> None:
    assert complaints(small()) == []
    assert len(complaints(small(**changes))) == 1


def test_a_workflow_that_may_write_is_refused() -> None:
    assert complaints(small() | {"permissions": "write-all"}) == ["it may do more than read"]


def test_ci_runs_what_a_developer_runs_on_the_oldest_and_a_new_python() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["tests"]["steps"]
    assert (ROOT / ".ci" / "run").is_file()
    assert jobs["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.14"]
