"""`make smoke`: whether a running stack, wherever it runs, does its whole job, seen through the public API alone.

A drawn dataset of 24 pairs goes from upload to report; its models are trained far too briefly to draw well.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from segsmith import Client

pytestmark = pytest.mark.timeout(3600)

SEGSMITH = Path(sys.executable).parent / "segsmith"
PAIRS, TRAIN_PAIRS = 24, 18
RUN = [
    "--preset", "tiny-cpu", "--k", "2", "--test-fraction", ".25", "--seed", "7", "--seeds", "1",
    "--samples-per-source", "1", "--ms-ssim-pairs", "20", "--set", "training.images_total=160",
    "--name", "smoke", "--stand-ins",
]  # fmt: skip


@pytest.fixture(scope="module")
def address() -> tuple[str, str]:
    """The stack's URL and a key, from the environment."""
    url, key = os.environ.get("SEGSMITH_URL"), os.environ.get("SEGSMITH_API_KEY")
    if not (url and key):
        pytest.fail("Say which stack: SEGSMITH_URL=http://… SEGSMITH_API_KEY=sgs_… make smoke")
    return url, key


@pytest.fixture(scope="module")
def client(address: tuple[str, str]) -> Iterator[Client]:
    with Client(*address) as client:
        yield client


@pytest.fixture(scope="module")
def finished(address: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of results and the JSON document of one run to its end."""
    folder = tmp_path_factory.mktemp("smoke")
    _segsmith("dataset", "draw", folder / "drawn", "--pairs", PAIRS, "--side", 64, "--seed", 7)
    told = _segsmith("run", folder / "drawn", *RUN, "--output", folder / "result", "--json")
    return folder / "result", json.loads(told)


def test_the_stack_is_ready_and_lets_nobody_in_without_a_key(address: tuple[str, str]) -> None:
    assert httpx.get(f"{address[0]}/readyz").json() == {"status": "ok"}
    for headers in ({}, {"Authorization": "Bearer sgs_" + "x" * 40}):
        refused = httpx.get(f"{address[0]}/v1/datasets", headers=headers)
        assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")


def test_a_dataset_becomes_synthetic_pairs(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, document = finished
    assert document["status"] == "succeeded"
    stages = [stage["stage"] for stage in document["stages"]]
    # how a set is evaluated and what is trained on it have no order of their own
    assert [*stages[:3], *sorted(stages[3:5]), *stages[5:]] == [
        "cluster", "train", "generate", "evaluate", "segment", "report",
    ]  # fmt: skip
    counts = document["sets"][0]["counts"]
    assert counts["requested"] == TRAIN_PAIRS == counts["accepted"] + sum(counts["rejected"].values())
    assert counts["accepted"] > 0
    images, masks = (sorted((folder / "sets" / "Diff-sample-1" / name).iterdir()) for name in ("images", "masks"))
    assert [path.name for path in images] == [path.name for path in masks]
    assert len(images) == counts["accepted"]
    for image, mask in zip(images, masks, strict=True):
        with Image.open(image) as picture, Image.open(mask) as drawn:
            assert picture.size == drawn.size
            label = np.asarray(drawn)
        assert set(np.unique(label)) == {0, 255}


def test_the_report_shows_the_set_and_says_what_was_stand_in(finished: tuple[Path, dict[str, Any]]) -> None:
    text = (finished[0] / "report.html").read_text()
    assert "Diff-sample-1" in text
    assert "stand-in" in text.lower()
    assert not re.search(r"""(src|href)=["']https?://""", text)


def test_models_were_scored_with_and_without_synthetic_pairs(finished: tuple[Path, dict[str, Any]]) -> None:
    rows = [row for row in finished[1]["segmentation"] if row["metric"] == "iou"]
    assert {row["arm"] for row in rows} == {"real", "synthetic", "real + synthetic"}
    assert all(0 <= row["mean"] <= 1 for row in rows)


def test_every_job_tells_its_story_from_the_first_event_to_the_last(
    client: Client, finished: tuple[Path, dict[str, Any]]
) -> None:
    pipeline = client.pipelines.get(finished[1]["pipeline_id"])
    told = list(client.pipelines.events(pipeline.id))
    assert [event.id for event in told] == sorted({event.id for event in told})
    assert {job.status for job in pipeline.jobs} == {"succeeded"}
    assert {event.job_id for event in told} == {job.id for job in pipeline.jobs}


def test_pictures_come_from_the_object_store_as_they_were_written(
    client: Client, address: tuple[str, str], finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    artifacts = list(client.pipelines.artifacts(finished[1]["pipeline_id"]))
    assert artifacts
    for number, artifact in enumerate(artifacts):
        content = client.artifacts.download(artifact, tmp_path / str(number)).read_bytes()
        if artifact.media_type.startswith("image/"):
            Image.open(BytesIO(content)).verify()


def _segsmith(*arguments: object) -> str:
    ran = subprocess.run([str(SEGSMITH), *map(str, arguments)], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout
