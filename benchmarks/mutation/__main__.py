"""`python -m benchmarks.mutation`: small faults put into the modules that figures come from, and which tests notice.

Changes one place of a module at a time (cosmic-ray's operators, and mistakes written by hand), runs the module's tests
against the change in a forked process, and writes every change with its outcome to `mutation.json`, also while it runs:
begun again, it goes on where module and tests are unchanged. Exits with 1 where fewer than `--at-least` percent of the
changes, or not all of those written by hand, are noticed.
"""

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutation.mutants import Mutant, mutants_of, replaced
from benchmarks.mutation.running import Outcome, TestsNotRun, Trial, run_trials
from benchmarks.mutation.targets import TARGETS, Target

# What the tests import and takes long; imported before forking, it is paid once.
PRELOADED = (
    "torch",
    "torch._dynamo",
    "torchvision",
    "cv2",
    "scipy.stats",
    "sklearn.metrics",
    "torchmetrics.image.kid",
    "cleanfid.fid",
    "diffusers.schedulers.scheduling_ddpm",
    "diffusers.models",
    "sqlmodel",
    "alembic.autogenerate",
    "psycopg",
    "redis",
    "pytest",
)
_ROOT = Path(__file__).parents[2]
_SHORTEST_TIMEOUT_S = 20.0
_SAVE_EVERY = 20


@dataclass(frozen=True)
class Result:
    """One change and whether a test noticed. `inputs` is the hash of the module and its tests."""

    target: str
    operator: str
    line: int
    before: str
    after: str
    outcome: Outcome
    seconds: float
    inputs: str

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.target, self.operator, self.line, self.before, self.after

    @property
    def noticed(self) -> bool:
        return self.outcome != "survived"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--only", help=f"targets, separated by commas, of: {', '.join(TARGETS)}")
    parser.add_argument("--output", type=Path, default=Path("mutation.json"))
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)), help="changes tried at a time")
    parser.add_argument("--at-least", type=float, default=85.0, metavar="PERCENT")
    parser.add_argument("--again", action="store_true", help="try those that survived once more, and only those")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(TARGETS)
    if unknown := sorted(set(chosen) - TARGETS.keys()):
        parser.error(f"there is no target {unknown[0]!r}")
    for module in PRELOADED:
        importlib.import_module(module)
    results = _read(arguments.output)
    try:
        for name in chosen:
            results = _tried(name, TARGETS[name], results, arguments.output, arguments.jobs, arguments.again)
    except TestsNotRun as problem:
        sys.exit(f"segsmith: {problem}")
    except KeyboardInterrupt:
        sys.exit(f"segsmith: stopped; what is done stands in {arguments.output} and is not done again")
    found = [each for each in results if each.target in chosen]
    print("\n".join(_table(found)))
    return 0 if _is_enough(found, arguments.at_least) else 1


def _tried(name: str, target: Target, known: list[Result], output: Path, jobs: int, again: bool) -> list[Result]:
    """`known` with the target's changes tried: all, or where the inputs are unchanged those that are missing."""
    source = _source(target.module)
    inputs = _hash([source, *((_ROOT / test).read_text() for test in target.tests)])
    others = [each for each in known if each.target != name]
    kept = [each for each in known if each.target == name and (each.noticed if again else each.inputs == inputs)]
    done = {each.key for each in kept}
    mutants = [each for each in _mutants(target, source) if (name, *_place(each)) not in done]
    if not mutants:
        return known
    timeout_s = _timeout(target, source)
    trials = [Trial(target.module, each.source, target.tests, timeout_s) for each in mutants]
    started, fresh = time.monotonic(), []
    for count, (number, outcome, seconds, _) in enumerate(run_trials(trials, jobs=jobs), 1):
        fresh.append(Result(name, *_place(mutants[number]), outcome, round(seconds, 1), inputs))
        if count % _SAVE_EVERY == 0 or count == len(trials):
            _write(output, [*others, *kept, *fresh])
            noticed = sum(each.noticed for each in fresh)
            print(
                f"{name}: {count} of {len(trials)}, {noticed} noticed, {time.monotonic() - started:.0f} s", flush=True
            )
    return [*others, *kept, *fresh]


def _mutants(target: Target, source: str) -> list[Mutant]:
    by_hand = [replaced(source, before, after) for before, after in target.by_hand]
    return by_hand + (mutants_of(source) if target.by_operators else [])


def _place(mutant: Mutant) -> tuple[str, int, str, str]:
    return mutant.operator, mutant.line, mutant.before, mutant.after


def _timeout(target: Target, source: str) -> float:
    """Five times what the unchanged module's tests take. Raises TestsNotRun where they fail."""
    trial = Trial(target.module, source, target.tests, 600)
    ((_, outcome, seconds, printed),) = run_trials([trial], jobs=1)
    if outcome != "survived":
        raise TestsNotRun(f"the tests of {target.module} do not pass without a change:\n{printed[-2000:]}")
    return max(_SHORTEST_TIMEOUT_S, 5 * seconds)


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise TestsNotRun(f"there is no module {module}")
    return Path(spec.origin).read_text()


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _read(output: Path) -> list[Result]:
    return [Result(**each) for each in json.loads(output.read_text())] if output.exists() else []


def _write(output: Path, results: Sequence[Result]) -> None:
    draft = output.with_suffix(".part")
    draft.write_text(json.dumps([asdict(each) for each in results], indent=1, ensure_ascii=False) + "\n")
    draft.replace(output)


def _table(results: Sequence[Result]) -> list[str]:
    lines = ["", "| module | changes | noticed | score |", "|---|---|---|---|"]
    counted = Counter(each.target for each in results)
    noticed = Counter(each.target for each in results if each.noticed)
    lines += [f"| {name} | {n} | {noticed[name]} | {100 * noticed[name] / n:.1f} % |" for name, n in counted.items()]
    total, all_noticed = len(results), sum(noticed.values())
    lines += [f"| all | {total} | {all_noticed} | {100 * all_noticed / max(1, total):.1f} % |", "", "Survived:"]
    survived = sorted((each for each in results if not each.noticed), key=lambda each: (each.target, each.line))
    return lines + [f"  {each.target}:{each.line}  {each.before}\n      → {each.after}" for each in survived]


def _is_enough(results: Sequence[Result], at_least: float) -> bool:
    share = 100 * sum(each.noticed for each in results) / max(1, len(results))
    return share >= at_least and all(each.noticed for each in results if each.operator == "by hand")


if __name__ == "__main__":
    sys.exit(main())
