"""The steps of the gpu queue: read inputs, call the science, write outputs. The only modules that know both sides."""

from segsmith_shared.database.tables import JobKind

STEPS = {
    JobKind.CLUSTER: "segsmith_worker.steps.cluster:run",
    JobKind.TRAIN: "segsmith_worker.steps.train:run",
    JobKind.GENERATE: "segsmith_worker.steps.generate:run",
    JobKind.STYLE: "segsmith_worker.steps.style:run",
    JobKind.JUDGE: "segsmith_worker.steps.judge:run",
    JobKind.GATE: "segsmith_worker.steps.gate:run",
    JobKind.SEGMENT: "segsmith_worker.steps.segment:run",
    JobKind.IMPORT_WEIGHTS: "segsmith_worker.steps.import_weights:run",
    JobKind.IMPORT_MODEL: "segsmith_worker.steps.import_model:run",
    JobKind.PROBE: "segsmith_shared.jobs.probe:run",
}
PRELOAD = [
    "torch._dynamo",  # the first optimiser imports it: seconds that every child would spend
    "segsmith_worker.steps.cluster",
    "segsmith_worker.steps.train",
    "segsmith_worker.steps.generate",
    "segsmith_worker.steps.style",
    "segsmith_worker.steps.judge",
    "segsmith_worker.steps.gate",
    "segsmith_worker.steps.segment",
    "segsmith_worker.steps.import_weights",
    "segsmith_worker.steps.import_model",
]
