"""The command line against the real API, real jobs and the three real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs
from typer.testing import CliRunner

from segsmith import Client, TransferBroken
from segsmith.command import app
from segsmith.packing import PackedFolder
from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.settings import Settings
from tests.fixtures.api_room import ApiRoom, api_room
from tests.fixtures.engine_room import EngineRoom

PART_BYTES = 20_000
REST = {"segmentation": None, "allow_stand_ins": True}


@pytest.fixture
def api(settings: Settings, engine: Engine) -> Iterator[ApiRoom]:
    # the API runs in this process, and its log must not mix with what the command prints
    with capture_logs(), api_room(settings.model_copy(update={"upload_part_bytes": PART_BYTES}), engine) as room:
        yield room


@dataclass
class Said:
    """What a command printed and how it ended."""

    stdout: str
    stderr: str
    exit_code: int

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.stdout)


Segsmith = Callable[..., Said]


@pytest.fixture
def segsmith(api: ApiRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segsmith:
    """Runs a command in this process, in an empty folder, with the API's address and key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGSMITH_URL", api.url)
    monkeypatch.setenv("SEGSMITH_API_KEY", api.key)

    def run(*arguments: object) -> Said:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Said(result.stdout, result.stderr, result.exit_code)

    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "polyps"
    result = CliRunner().invoke(app, ["dataset", "draw", str(folder), "--pairs", "8", "--side", "64", "--seed", "3"])
    assert result.exit_code == 0, result.output
    return folder


def test_a_folder_becomes_a_version_and_what_is_wrong_with_it_is_told(
    segsmith: Segsmith, room: EngineRoom, drawn: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(drawn, folder)
    (folder / "masks" / "drawn-0003.png").unlink()
    (folder / "images" / "drawn-0005.png").write_bytes(b"no picture")
    room.service("segsmith_evaluator")
    words = segsmith("dataset", "upload", folder)
    assert words.exit_code == 0, words.stderr
    assert "6 pairs accepted" in words.stdout
    assert "drawn-0003" in words.stdout
    assert "drawn-0005" in words.stdout
    listed = segsmith("dataset", "list", "--json").document
    shown = segsmith("dataset", "show", listed[0]["id"], "--json").document
    assert [version["pair_count"] for version in shown["versions"]] == [6]
    version = shown["versions"][0]["id"]
    split = segsmith("dataset", "split", version, "--fraction", "train=.5", "--fraction", "test=.5", "--json").document
    assert sum(split["counts"].values()) == 6
    home = segsmith("set", "download", version, "--output", tmp_path / "home.zip", "--json").document
    assert home["pairs"] == 6
    assert Path(home["file"]).stat().st_size == home["size_bytes"]


def test_labels_of_two_classes_go_up_and_come_home_the_same(
    segsmith: Segsmith, room: EngineRoom, tmp_path: Path
) -> None:
    folder, home = tmp_path / "two", tmp_path / "home"
    assert segsmith("dataset", "draw", folder, "--pairs", "4", "--side", "48", "--classes", "2").exit_code == 0
    room.service("segsmith_evaluator")
    up = segsmith("dataset", "upload", folder, "--json").document
    assert up["version"]["class_names"] == ["polyp", "scar"]
    assert "polyp, scar" in segsmith("dataset", "show", up["version"]["dataset_id"]).stdout
    zipped = segsmith("set", "download", up["version"]["id"], "--output", tmp_path / "home.zip", "--json").document
    with zipfile.ZipFile(zipped["file"]) as archive:
        archive.extractall(home)
    again = segsmith("dataset", "upload", home, "--json").document
    assert again["version"]["class_names"] == ["polyp", "scar"]
    assert again["version"]["digest"] == up["version"]["digest"]
    other = segsmith("dataset", "upload", home, "--classes", "scar=2,polyp=1", "--json").document
    assert other["version"]["class_names"] == ["scar", "polyp"]
    assert other["version"]["digest"] != up["version"]["digest"]


def test_a_run_reads_its_pairs_and_its_test_sets_by_the_same_classes(
    segsmith: Segsmith, room: EngineRoom, tmp_path: Path
) -> None:
    for seed, name in enumerate(("two", "held")):
        segsmith("dataset", "draw", name, "--pairs", "4", "--side", "48", "--classes", "2", "--seed", seed)
        (tmp_path / name / "classes.json").unlink()
    room.service("segsmith_evaluator")
    said = segsmith(
        "run", "two", "--test", "held=held", "--classes", "polyp,scar", "--k", "2", "--stand-ins", "--no-watch"
    )
    assert said.exit_code == 0, said.stderr
    datasets = segsmith("dataset", "list", "--json").document
    shown = [segsmith("dataset", "show", dataset["id"], "--json").document for dataset in datasets]
    versions = [version for dataset in shown for version in dataset["versions"]]
    assert [version["class_names"] for version in versions] == [["polyp", "scar"]] * 2


def test_an_upload_that_broke_off_goes_on_with_what_is_missing(
    segsmith: Segsmith, api: ApiRoom, room: EngineRoom, drawn: Path
) -> None:
    class FailingDisk(PackedFolder):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 2 * PART_BYTES:
                raise TransferBroken("the disk went away")
            return super().read(offset, length)

    with Client(api.url, api.key) as client:
        upload = client.uploads.begin(client.datasets.create("broken").id, PackedFolder(drawn))
        with pytest.raises(TransferBroken):
            client.uploads.send(upload.id, FailingDisk(drawn))
        there = client.uploads.get(upload.id)
        assert there.missing
    room.service("segsmith_evaluator")
    resumed = segsmith("dataset", "upload", drawn, "--resume", upload.id, "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.document["version"]["pair_count"] == 8


def test_a_dry_run_tells_the_cost_without_sending_anything(segsmith: Segsmith, drawn: Path) -> None:
    said = segsmith("run", drawn, "--dry-run", "--k", "2", "--samples-per-source", "1", "--json")
    assert said.exit_code == 0, said.stderr
    assert {"cluster", "generate", "segment", "report"} <= {job["kind"] for job in said.document["jobs"]}
    assert segsmith("dataset", "list", "--json").document == []


def test_the_offline_plan_is_the_plan_of_the_server(
    segsmith: Segsmith, api: ApiRoom, drawn: Path, tmp_path: Path
) -> None:
    offline = segsmith("run", drawn, "--dry-run", "--k", "2", "--test-fraction", "0", "--json").document
    version = api.version([f"pair-{number}" for number in range(8)])
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"pairs": {"version_id": str(version)}, "clustering": {"k": 2}, **REST}))
    assert segsmith("pipeline", "submit", spec, "--dry-run", "--json").document == offline


def test_a_submitted_pipeline_can_be_looked_at_held_and_cancelled(
    segsmith: Segsmith, api: ApiRoom, tmp_path: Path
) -> None:
    version = api.version([f"pair-{number}" for number in range(8)])
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"pairs": {"version_id": str(version)}, "clustering": {"k": 2}, **REST}))
    submitted = segsmith("pipeline", "submit", spec, "--json").document
    assert [each["id"] for each in segsmith("pipeline", "list", "--json").document] == [submitted["id"]]
    kinds = {job["kind"] for job in segsmith("job", "list", "--pipeline", submitted["id"], "--json").document}
    assert {"cluster", "generate", "report"} <= kinds
    assert segsmith("pipeline", "pause", submitted["id"], "--json").document["status"] == "paused"
    assert segsmith("pipeline", "resume", submitted["id"], "--json").document["status"] == "queued"
    assert segsmith("pipeline", "cancel", submitted["id"], "--json").document["status"] == "cancelled"
    watched = segsmith("watch", submitted["id"], "--json")
    assert (watched.document["status"], watched.exit_code) == ("cancelled", 1)
    assert "cancelled" in segsmith("pipeline", "show", submitted["id"]).stdout


def test_a_job_can_be_held_resumed_cancelled_and_tried_again(segsmith: Segsmith, room: EngineRoom) -> None:
    (job_id,) = room.submit(ProbeSpec())
    statuses = [
        segsmith("job", verb, job_id, "--json").document["status"] for verb in ("pause", "resume", "cancel", "retry")
    ]
    assert statuses == ["paused", "queued", "cancelled", "queued"]
    room.worker()
    events = segsmith("job", "events", job_id, "--json").document
    assert [event["data"]["status"] for event in events if event["kind"] == "status"][-1] == "succeeded"
    again = segsmith("job", "cancel", job_id)
    assert again.exit_code == 1
    assert again.stderr.count("\n") == 1
    assert "succeeded" in again.stderr


def test_a_key_is_shown_once_and_refused_once_revoked(
    segsmith: Segsmith, api: ApiRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = segsmith("key", "create", "guest", "--json").document
    assert {key["name"] for key in segsmith("key", "list", "--json").document} == {"test", "guest"}
    monkeypatch.setenv("SEGSMITH_API_KEY", made["key"])
    assert segsmith("dataset", "create", "of a guest").exit_code == 0
    assert segsmith("key", "revoke", made["id"], "--api-key", api.key).exit_code == 0
    refused = segsmith("dataset", "list")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("segsmith: An API key is needed")
    assert made["key"] not in segsmith("key", "list", "--api-key", api.key, "--json").stdout


def test_the_embedded_stack_of_this_folder_is_found(
    segsmith: Segsmith, api: ApiRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGSMITH_URL")
    monkeypatch.delenv("SEGSMITH_API_KEY")
    lost = segsmith("dataset", "list")
    assert (lost.exit_code, lost.stderr.count("\n")) == (1, 1)
    assert "make up" in lost.stderr
    (tmp_path / ".segsmith").mkdir()
    (tmp_path / ".segsmith/stack.json").write_text(json.dumps({"url": api.url, "api_key": api.key}))
    assert segsmith("dataset", "list", "--json").document == []
    elsewhere = segsmith("dataset", "list", "--url", api.url.replace("127.0.0.1", "localhost"))
    assert "An API key is needed" in elsewhere.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "show", uuid4()),
        ("run", "no-such-folder"),
        ("run", ".", "--preset", "no-such-preset"),
        ("run", ".", "--set", "training.batch=-1"),
        ("run", ".", "--segmentation-preset", "no-such-preset"),
        ("run", ".", "--classes", "polyp=1,polyp=2"),
        ("dataset", "check", ".", "--classes", "polyp=red"),
        ("dataset", "upload", ".", "--classes", "a,b,c,d,e,f,g,h,i"),
        ("dataset", "check", "."),
        ("dataset", "split", uuid4(), "--fraction", "train"),
        ("pipeline", "submit", "no-such-file.json"),
        ("dataset", "create", "x" * 500),
    ],
)
def test_every_error_is_one_line_and_no_traceback(segsmith: Segsmith, arguments: tuple[object, ...]) -> None:
    said = segsmith(*arguments)
    assert said.exit_code == 1
    assert "Traceback" not in said.stderr
    if said.stderr:
        assert said.stderr.startswith("segsmith: ")
        assert said.stderr.count("\n") == 1
    else:
        assert "accepted" in said.stdout  # bad news is the answer of `dataset check`


def test_ctrl_c_while_watching_leaves_the_run_going_and_says_how_to_come_back(
    segsmith: Segsmith, api: ApiRoom, room: EngineRoom
) -> None:
    (job_id,) = room.submit(ProbeSpec(steps=1000, seconds_per_step=0.05))
    pipeline_id = room.job(job_id).pipeline_id
    room.worker()
    command = [str(Path(sys.executable).with_name("segsmith")), "watch", str(pipeline_id)]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert watching.stderr is not None
    first_lines = [watching.stderr.readline()]
    watching.send_signal(signal.SIGINT)
    rest = watching.communicate(timeout=30)[1]
    told = "".join([*first_lines, rest])
    assert watching.returncode == 130
    assert "Traceback" not in told
    assert f"segsmith watch {pipeline_id}" in told
    assert room.job(job_id).status == JobStatus.RUNNING
    assert segsmith("job", "cancel", job_id).exit_code == 0
    room.until_status(job_id, JobStatus.CANCELLED)


def test_a_reader_that_goes_away_is_no_error(segsmith: Segsmith) -> None:
    command = f"{Path(sys.executable).with_name('segsmith')} preset list --json | head -c 10"
    piped = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (piped.returncode, piped.stderr, len(piped.stdout)) == (0, "", 10)
