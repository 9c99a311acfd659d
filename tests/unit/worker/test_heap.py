"""Freed memory that a job's process keeps, seen in the pages that the system has to clear for a network's passes."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from segsmith_shared.jobs.heap import keep_freed_memory
from segsmith_shared.plans.presets import preset_named
from segsmith_worker.diffusion.unet import new_network
if sys.argv[1] == "kept":
    keep_freed_memory()
torch.set_num_threads(1)
network = new_network(preset_named("small-64").network, region_channel=False, learned_range=False, seed=0)
def passes(count):
    with torch.inference_mode():
        for _ in range(count):
            network(torch.zeros(8, 4, 64, 64), torch.zeros(8))
passes(3)  # the heap grows to its size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
passes(5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_cleared(how: str) -> int:
    """By five passes. Malloc begins as it does by itself, and stays so: what it learns differs from run to run."""
    command = [sys.executable, "-c", PROGRAM, how]
    environment = {"PATH": "/usr/bin:/bin", "MALLOC_TRIM_THRESHOLD_": "131072"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other C libraries")
@pytest.mark.slow
def test_a_pass_gets_the_same_memory_as_the_last_one() -> None:
    assert pages_cleared("kept") * 4 < pages_cleared("left alone")
