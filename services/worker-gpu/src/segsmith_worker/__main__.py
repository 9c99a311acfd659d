"""`python -m segsmith_worker`: serves the queue `gpu`."""

from segsmith_shared.jobs.worker import serve
from segsmith_worker.steps import PRELOAD, STEPS

if __name__ == "__main__":
    serve("gpu", STEPS, PRELOAD)
