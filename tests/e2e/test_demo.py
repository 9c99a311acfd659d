"""What a stranger does first: a drawn dataset goes through the whole product, from the command line to the report."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(1800)  # the first test of the file waits for the whole run

BIN = Path(sys.executable).parent
TRAIN_PAIRS = 14
"""Of 24 a quarter tests, and of the rest a fifth validates."""
RUN = [
    "--preset", "tiny-cpu", "--k", "2", "--test-fraction", ".25", "--seed", "7", "--seeds", "1",
    "--samples-per-source", "1", "--ms-ssim-pairs", "20", "--set", "training.images_total=320",
    "--quality-gate", "--stand-ins",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a short run (far too short to draw good lesions), its JSON document, and what it told on stderr."""
    folder = tmp_path_factory.mktemp("demo")
    _segsmith("dataset", "draw", folder / "drawn", "--pairs", 24, "--side", 64, "--seed", 7)
    command = [sys.executable, "-m", "segsmith_shared.embedded", "--data", folder / "stack", "exec", "--"]
    command += [BIN / "segsmith", "run", folder / "drawn", *RUN, "--output", folder / "result", "--json"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=_environment())
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads(ran.stdout), ran.stderr


def test_every_stage_runs_and_says_what_it_took(finished: tuple[Path, dict[str, Any], str]) -> None:
    _, document, told = finished
    assert document["status"] == "succeeded"
    stages = {stage["stage"]: stage for stage in document["stages"]}
    assert set(stages) == {"cluster", "train", "generate", "evaluate", "judge", "gate", "segment", "report"}
    assert all(stage["wall_seconds"] > 0 and stage["peak_memory_bytes"] > 2**20 for stage in stages.values())
    for kind in stages:
        assert re.search(rf"✓ {kind}.*succeeded +[\d.]+ .*load [\d.]+", told), told


def test_every_sample_is_accounted_for_and_every_accepted_pair_is_at_home(
    finished: tuple[Path, dict[str, Any], str],
) -> None:
    folder, document, _ = finished
    counts = document["sets"][0]["counts"]
    assert counts["requested"] == TRAIN_PAIRS
    assert counts["accepted"] + sum(counts["rejected"].values()) == TRAIN_PAIRS
    home = folder / "result" / "sets" / "Diff-sample-1"
    images, masks = (sorted((home / name).iterdir()) for name in ("images", "masks"))
    assert [path.name for path in images] == [path.name for path in masks]
    assert len(images) == counts["accepted"]
    for path in masks:
        assert set(np.unique(np.asarray(Image.open(path)))) <= {0, 255}


def test_the_report_opens_from_disk_and_says_what_was_stand_in(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = finished
    page = Path(document["files"]["report"])
    assert page == (folder / "result" / "report.html").absolute()
    text = page.read_text()
    assert not re.search(r"""(src|href)=["']https?://""", text)
    assert "stand-in" in text.lower()
    assert "Diff-sample-1" in text


def test_the_study_scores_every_arm_on_pairs_nobody_trained_on(finished: tuple[Path, dict[str, Any], str]) -> None:
    _, document, _ = finished
    scored = {(row["arm"], row["metric"]) for row in document["segmentation"] if row["test"] == "test"}
    assert {(arm, metric) for arm in ("real", "synthetic", "real + synthetic") for metric in ("dice", "iou")} <= scored
    assert all(0 <= row["mean"] <= 1 for row in document["segmentation"] if row["metric"] in {"dice", "iou"})


def test_judges_say_how_well_labels_fit_and_drop_nothing_unasked(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = finished
    (told,) = document["agreement"]
    assert (told["set"], told["threshold"], told["dropped"]) == ("Diff-sample-1", None, 0)
    assert told["judged"] == document["sets"][0]["counts"]["accepted"]
    assert 0 <= told["dice_median"] <= 1
    assert (folder / "result" / "agreement-Diff-sample-1.png").is_file()
    pairs = [
        json.loads(line) for line in (folder / "result/sets/Diff-sample-1/provenance.jsonl").read_text().splitlines()
    ]
    assert all(0 <= pair["sample"]["agreement"]["iou"] <= pair["sample"]["agreement"]["dice"] <= 1 for pair in pairs)


def test_nothing_keeps_running(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = finished
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _read(path)]
    assert left == []


def _segsmith(*arguments: object) -> None:
    subprocess.run([str(BIN / "segsmith"), *map(str, arguments)], check=True, capture_output=True, env=_environment())


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SEGSMITH_")}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
