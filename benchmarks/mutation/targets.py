"""What is mutated and which tests should notice: the modules that a wrong figure would come from."""

from dataclasses import dataclass

_WORKER = "tests/unit/worker"


@dataclass(frozen=True)
class Target:
    """A module, the tests that guard it, and (before, after) texts of mistakes that must never pass unnoticed."""

    module: str
    tests: tuple[str, ...]
    by_hand: tuple[tuple[str, str], ...] = ()
    by_operators: bool = True


TARGETS = {
    "schedule": Target(
        "segsmith_worker.diffusion.schedule",
        (f"{_WORKER}/diffusion/test_schedule.py", f"{_WORKER}/diffusion/test_loss.py"),
    ),
    "loss": Target(
        "segsmith_worker.diffusion.loss",
        (f"{_WORKER}/diffusion/test_loss.py", f"{_WORKER}/diffusion/test_unknown_labels.py"),
        (("epsilon.detach()", "epsilon"),),
    ),
    "repaint": Target(
        "segsmith_worker.inpainting.repaint",
        (f"{_WORKER}/inpainting/test_repaint_by_hand.py", f"{_WORKER}/inpainting/test_samplers.py"),
        (
            ("chain.betas[move.level + 1]", "chain.betas[move.level]"),
            ("chain.alphas_bar[move.level])", "chain.alphas_bar[move.level - 1])"),
            ("if done:", "if True:"),
            ("x, x, levels, move.level)", "x, x, levels, max(0, move.level - 1))"),
        ),
    ),
    "known_clean": Target(
        "segsmith_worker.inpainting.known_clean",
        (f"{_WORKER}/inpainting/test_known_clean_by_hand.py", f"{_WORKER}/inpainting/test_samplers.py"),
    ),
    "regions": Target("segsmith_worker.inpainting.regions", (f"{_WORKER}/inpainting/test_regions.py",)),
    "arms": Target(
        "segsmith_worker.segmentation.arms",
        (f"{_WORKER}/segmentation/test_arms.py",),
        (("row.set_number - 1 if each else 0,", "row.set_number - 1,"),),
    ),
    "splits": Target("segsmith_shared.pairs.splits", ("tests/unit/shared/pairs/test_splits.py",)),
    "kid": Target("segsmith_evaluator.metrics.kid", ("tests/unit/evaluator/test_kid.py",)),
    "fid": Target(
        "segsmith_evaluator.metrics.fid", ("tests/unit/evaluator/test_fid.py", "tests/unit/evaluator/test_moments.py")
    ),
    "states": Target(
        "segsmith_shared.jobs.states",
        ("tests/integration/test_jobs_queue.py", "tests/integration/test_jobs_schema.py"),
    ),
    "blended": Target(
        "segsmith_worker.inpainting.blended",
        (f"{_WORKER}/inpainting/test_repaint_by_hand.py",),
        (("if done:", "if True:"),),
        by_operators=False,
    ),
    "batches": Target(
        "segsmith_worker.diffusion.batches",
        (f"{_WORKER}/diffusion/test_training.py",),
        (
            (
                "return pair.flip([axis for bit, axis in enumerate(axes) if bits >> bit & 1])",
                "return torch.cat([pair[:3].flip([a for b, a in enumerate(axes) if bits >> b & 1]), pair[3:]])",
            ),
        ),
        by_operators=False,
    ),
    "fairness": Target(
        "segsmith_shared.plans.fairness",
        ("tests/unit/shared/plans/test_fairness.py",),
        (
            (
                "next((each for each in alone if real_count(each, real_pairs) == wanted), None)",
                "next((each for each in reversed(list(alone))), None)",
            ),
        ),
        by_operators=False,
    ),
}
