"""`python -m benchmarks`: runs every benchmark in a fresh process, prints its ratios and writes them to one JSON file.

A benchmark is a module beside this one with `measure() -> dict[str, Any]`: figures under names that say what was
compared, and the baseline in words. Modules whose name begins with an underscore are their helpers. With `--gpu` the
benchmarks of `gpu/` run instead, on the first CUDA device.
"""

import argparse
import contextlib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segsmith_shared.jobs.heap import keep_freed_memory

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 1800


def main() -> int:
    """Run what was asked for; exit code 1 when any benchmark failed."""
    arguments = _arguments()
    if arguments.measure:
        keep_freed_memory()  # as the processes of jobs do
        with contextlib.redirect_stdout(sys.stderr):  # what a benchmark prints by itself is no part of the figures
            figures = importlib.import_module(f"benchmarks.{arguments.measure}").measure()
        json.dump(figures, sys.stdout)
        return 0
    console = Console(highlight=False)
    if arguments.gpu and not _sees_a_gpu():
        console.print("no GPU: nothing measured")
        return 1
    results = {}
    for name in arguments.only or _names("gpu" if arguments.gpu else ""):
        console.print(f"{name} …")
        results[name] = _run(name)
        console.print(_table(name, results[name]))
    document = {"machine": _machine(), "measured_at": datetime.now(UTC).isoformat(), "benchmarks": results}
    arguments.output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    console.print(f"Written to {arguments.output}")
    return int(any("failed" in result for result in results.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, separated by commas")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--gpu", action="store_true", help="the benchmarks of a CUDA device")
    parser.add_argument("--measure", choices=[*_names(), *_names("gpu")], help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(folder: str = "") -> list[str]:
    """The benchmarks of a folder, as modules of this package."""
    found = sorted(path.stem for path in (HERE / folder).glob("*.py") if not path.stem.startswith("_"))
    return [f"{folder}.{name}".removeprefix(".") for name in found]


def _sees_a_gpu() -> bool:
    import torch  # seconds, which the others do not wait for

    return torch.cuda.is_available()


def _run(name: str) -> dict[str, Any]:
    """One benchmark's figures, with its time and the load it met; or why it has none."""
    started, load = time.monotonic(), os.getloadavg()[0]
    # torch's own way of waiting for threads: sleeping, which the Makefile asks for, slows a baseline of single images
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--measure", name],
            cwd=HERE.parent,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        return {"failed": str(error)}
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures | {"seconds": round(time.monotonic() - started, 1), "load_before": round(load, 2)}


def _table(name: str, figures: dict[str, Any]) -> Table:
    table = Table("figure", "value", title=name, title_justify="left", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for figure, value in figures.items():
        table.add_row(figure, f"{value:.4g}" if isinstance(value, float) else str(value))
    return table


def _machine() -> dict[str, Any]:
    return {"cpu_count": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
