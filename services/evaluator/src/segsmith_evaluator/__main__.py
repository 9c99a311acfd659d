"""`python -m segsmith_evaluator`: serves the queue `cpu`."""

from segsmith_evaluator.steps import PRELOAD, STEPS
from segsmith_shared.jobs.worker import serve

if __name__ == "__main__":
    serve("cpu", STEPS, PRELOAD)
