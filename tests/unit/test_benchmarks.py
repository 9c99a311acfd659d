"""Benchmarks run at tiny sizes on a CPU, so that the first run on a GPU measures something; without one it is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import pairs_per_hour, strategies
from benchmarks._devices import peak_flops
from benchmarks.gpu import inpainting as gpu_inpainting
from benchmarks.gpu import strategies as gpu_strategies
from benchmarks.gpu import training as gpu_training
from segsmith_shared.plans.presets import Preset
from tests.fixtures.small_trainings import AWARE, PAPER

pytestmark = pytest.mark.timeout(240)
SHORT = {"sampling": {"respaced_steps": 4, "jump_length": 2, "jump_visits": 2}}


def positive(figures: dict[str, float | str], *parts: str) -> list[float]:
    """The figures whose names have one of these parts: there are some, and all are above 0."""
    found = [float(value) for name, value in figures.items() if any(part in name for part in parts)]
    assert found
    assert min(found) > 0
    return found


@pytest.mark.parametrize("preset", [AWARE, PAPER], ids=["aware", "paper"])
def test_training_is_measured_against_the_authors_way(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_training, "peak_flops", lambda _name: 1e12)
    sizes = gpu_training.Sizes(((preset, 4, 4), (preset, 4, 2)), steps=1, rounds=1, device="cpu", compiles=False)
    figures = gpu_training.measure(sizes)
    ratios = positive(figures, "authors_float16 to ours", "authors_float32 to ours", "contiguous", "not_drawn_ahead")
    assert len(ratios) == 8
    assert len(positive(figures, "images/s", ": MFU")) == 4
    assert not [name for name in figures if name.endswith("said")]


def test_pairs_per_hour_of_every_sampler_are_measured() -> None:
    sizes = gpu_inpainting.Sizes(PAPER, sources=2, rounds=1, device="cpu", paper=SHORT)
    figures = gpu_inpainting.measure(sizes)
    assert len(positive(figures, "_pairs_per_hour")) == 5
    assert figures["repaint_batched_evaluations"] == 6
    assert figures["known_background_evaluations"] == 20


def test_strategies_are_compared_from_training_to_pairs() -> None:
    preset = AWARE.with_overrides(
        {"training": {"images_total": 30, "warm_start_images": 60}, "sampling.evaluations": 2}
    )
    figures = gpu_strategies.measure(gpu_strategies.Sizes(preset, rounds=1, steps=1, device="cpu"))
    assert figures["per_cluster_planned_images"] == 600
    assert figures["warm_start_planned_images"] == 660
    assert figures["conditioned_planned_images"] == 30
    assert figures["per_cluster_end_to_end_ratio"] == 1
    positive(figures, "_seconds")


def test_the_cpu_benchmarks_of_strategies_and_samplers_run_too() -> None:
    assert strategies.training_seconds(AWARE, 1)["conditioned_planned_images"] == 60
    paper = AWARE.with_overrides(pairs_per_hour.UNCONDITIONAL).with_overrides(SHORT)
    figures = pairs_per_hour.measured(AWARE.with_overrides({"sampling.evaluations": 2}), 2, 1, paper=paper)
    positive(figures, "pairs_per_hour")
    assert "6 evaluations" in str(figures["baseline"])


def test_a_device_outside_the_table_has_no_peak() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA H200 NVL") is None
    assert peak_flops("cpu") is None


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_and_that_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--gpu", "--output", str(tmp_path / "bench.json")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "no GPU: nothing measured\n"
    assert not list(tmp_path.iterdir())
