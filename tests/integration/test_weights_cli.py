"""`segsmith weights` and `segsmith models` against the real API, real jobs and a publisher's server of this test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import Engine
from structlog.testing import capture_logs
from typer.testing import CliRunner

from segsmith.command import app
from segsmith_shared.plans import weights as registry
from segsmith_shared.settings import Settings
from tests.fixtures.api_room import ApiRoom, api_room
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.file_server import Publisher, publishing
from tests.fixtures.guided import checkpoint_file, guided_network, randomised
from tests.fixtures.weight_imports import UNPUBLISHED, small_tensors
from tests.integration.test_cli import Said, Segsmith

REPOSITORY = Path(__file__).parents[2]
"""Where the worker finds the tests' modules: the command runs in another folder."""


@pytest.fixture
def api(settings: Settings, engine: Engine) -> Iterator[ApiRoom]:
    with capture_logs(), api_room(settings, engine) as room:
        yield room


@pytest.fixture
def segsmith(api: ApiRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segsmith:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGSMITH_URL", api.url)
    monkeypatch.setenv("SEGSMITH_API_KEY", api.key)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: object) -> Said:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Said(result.stdout, result.stderr, result.exit_code)

    return run


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """The address of the file without a published digest, for this process; it holds the small network's tensors."""
    torch.save(small_tensors(), tmp_path / "published.pth")
    with publishing((tmp_path / "published.pth").read_bytes()) as publisher:
        known = registry.PRETRAINED[UNPUBLISHED].model_copy(update={"address": publisher.url})
        monkeypatch.setitem(registry.PRETRAINED, UNPUBLISHED, known)
        yield publisher


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_is_fetched_kept_exported_and_imported_elsewhere(
    segsmith: Segsmith, room: EngineRoom, publisher: Publisher, tmp_path: Path
) -> None:
    room.service("tests.fixtures.weights_worker", PYTHONPATH=str(REPOSITORY))
    fetched = segsmith("weights", "fetch", UNPUBLISHED)
    assert fetched.exit_code == 0, fetched.stderr + room.logs()
    assert "nobody could check" in fetched.stderr
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
    listed = {each["name"]: each for each in segsmith("weights", "list", "--json").document}
    assert listed[UNPUBLISHED]["stored"]["pinned"] == "first import"
    assert "nobody could check" in " ".join(segsmith("weights", "list").stdout.split())
    shown = segsmith("weights", "show", UNPUBLISHED).stdout
    assert all(words in shown for words in ("102 MB", "see the publisher", publisher.url, "nobody could check"))
    assert "on the server already" in segsmith("weights", "fetch", UNPUBLISHED).stderr
    assert segsmith("weights", "verify").exit_code == 0
    exported = segsmith("weights", "export", tmp_path / "bundle.tar", "--json")
    assert exported.document["names"] == [UNPUBLISHED], exported.stderr
    imported = segsmith("weights", "import", tmp_path / "bundle.tar", "--json")
    assert imported.document["names"] == [UNPUBLISHED], imported.stderr
    torch.save(small_tensors(1), tmp_path / "other.pth")
    refused = segsmith("weights", "import", tmp_path / "other.pth", "--name", UNPUBLISHED)
    assert refused.exit_code == 1
    assert "--replace" in refused.stderr
    assert segsmith("weights", "import", tmp_path / "other.pth", "--name", UNPUBLISHED, "--replace").exit_code == 0


def test_without_internet_one_line_says_what_to_do(segsmith: Segsmith, publisher: Publisher, tmp_path: Path) -> None:
    publisher.status = 404
    said = segsmith("weights", "fetch", UNPUBLISHED)
    assert said.exit_code == 1
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("segsmith: The download failed")
    assert f"segsmith weights import FILE --name {UNPUBLISHED}" in last
    publisher.status = 200
    assert segsmith("weights", "fetch", UNPUBLISHED, "--to", tmp_path / "stick").exit_code == 0
    assert [path.name for path in (tmp_path / "stick").iterdir()] == [registry.PRETRAINED[UNPUBLISHED].file_name]
    publisher.status = 404
    again = segsmith("weights", "fetch", UNPUBLISHED, "--to", tmp_path / "stick")
    assert again.exit_code == 0, again.stderr  # what has come needs no publisher


def test_a_download_that_is_not_the_published_file_is_not_sent(
    segsmith: Segsmith, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.PRETRAINED[UNPUBLISHED].model_copy(update={"sha256": "6726825d"})
    monkeypatch.setitem(registry.PRETRAINED, UNPUBLISHED, known)
    said = segsmith("weights", "fetch", UNPUBLISHED)
    assert (said.exit_code, "cannot be trusted" in said.stderr) == (1, True)
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
    assert segsmith("job", "list", "--json").document == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("weights", "fetch", "resnet1000"), "fid-inception"),
        (("weights", "import", "published.pth"), "--name"),
        (("weights", "import", "absent.pth"), "does not exist"),
        (("weights", "export", "bundle.tar"), "No pretrained file is here"),
        (("weights", "verify", "vgg19"), "segsmith weights fetch vgg19"),
        (("models", "import"), "either a file or --pretrained"),
        (("models", "import", "--pretrained", "guided-diffusion-256"), "segsmith weights fetch guided-diffusion-256"),
        (("models", "import", "published.pth", "--weights", "averaged"), "ema or raw"),
    ],
)
def test_every_error_is_one_line_that_says_what_to_do(
    segsmith: Segsmith, publisher: Publisher, arguments: tuple[str, ...], words: str
) -> None:
    said = segsmith(*arguments)
    assert (said.exit_code, said.stderr.strip().count("\n")) == (1, 0), said.stderr
    assert words in said.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_checkpoint_of_the_authors_is_imported_and_draws(
    segsmith: Segsmith, room: EngineRoom, tmp_path: Path
) -> None:
    room.service("tests.fixtures.weights_worker", PYTHONPATH=str(REPOSITORY))
    file = checkpoint_file(tmp_path, randomised(guided_network((16, 8))))
    made = segsmith("models", "import", file, "--side", 32, "--json")
    assert made.exit_code == 0, made.stderr + room.logs()
    assert (made.document["recipe"], made.document["cluster"], made.document["weights"]) == ("imported", 3, "raw")
    assert [each["id"] for each in segsmith("models", "list", "--json").document] == [made.document["id"]]
    assert "16, 8" in segsmith("models", "show", made.document["id"]).stdout
    drawn = segsmith("dataset", "draw", tmp_path / "drawn", "--pairs", 8, "--side", 32)
    assert drawn.exit_code == 0
    wanted = ("run", tmp_path / "drawn", "--model", made.document["id"], "--test-fraction", 0, "--json")
    dry = segsmith(*wanted, "--dry-run")
    assert {job["kind"] for job in dry.document["jobs"]} == {"generate", "evaluate", "report"}, dry.stderr
    room.service("segsmith_evaluator")
    sampling = {"respaced_steps": 4, "jump_length": 2, "jump_visits": 1, "batch": 3, "samples_per_source": 1}
    turned = [option for field, value in sampling.items() for option in ("--set", f"sampling.{field}={value}")]
    ran = segsmith(*wanted, *turned, "--ms-ssim-pairs", 10, "--stand-ins", "--output", tmp_path / "result")
    assert ran.exit_code == 0, ran.stderr + room.logs()
    report = (tmp_path / "result" / "report.html").read_text()
    assert f"imported {made.document['id'][:8]}, cluster 4" in report
