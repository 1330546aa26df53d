"""Every workload."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, Entry
from lmbench.base.members.needs import LM_EVAL, LOADGEN

MEMBERS: Mapping[str, Entry] = {
    "training_step": Entry(
        options="lmbench.suite.params:TrainingStepParams",
        target="lmbench.workloads.training_step:run",
        source="lmbench.workloads.training_step:source",
        about="forward, backward and optimizer on real batches",
    ),
    "latency": Entry(
        options="lmbench.suite.params:LatencyParams",
        target="lmbench.workloads.latency:run",
        source="lmbench.workloads.latency:source",
        about="one generation at a time: first token, per token, end to end",
        generates=True,
    ),
    "throughput": Entry(
        options="lmbench.suite.params:ThroughputParams",
        target="lmbench.workloads.throughput:run",
        source="lmbench.workloads.throughput:source",
        about="batch size swept until throughput stops rising",
        generates=True,
    ),
    "scoring": Entry(
        options="lmbench.suite.params:ScoringParams",
        target="lmbench.workloads.scoring:run",
        source="lmbench.workloads.scoring:source",
        about="one full forward pass over text, logits at every position",
    ),
    "tasks": Entry(
        options="lmbench.suite.params:TasksParams",
        target="lmbench.workloads.tasks:run",
        about="questions answered rightly, through EleutherAI's lm-evaluation-harness",
        needs=(LM_EVAL,),
        generates=True,
    ),
    "cold_start": Entry(
        options="lmbench.suite.params:ColdStartParams",
        target="lmbench.workloads.cold_start:run",
        about="fresh processes, each from its start to its first token",
        generates=True,
    ),
    "memory": Entry(
        options="lmbench.suite.params:MemoryParams",
        target="lmbench.workloads.memory:run",
        about="every term of memory, measured beside its estimate",
    ),
    "stress": Entry(
        options="lmbench.suite.params:StressParams",
        target="lmbench.workloads.stress:run",
        about="requests at scheduled moments, the rate ramped, searched or shaped, until an SLO breaks",
        takes=("module", "onnx", "fake", ENDPOINT),
        check="lmbench.load.declared:faults",
        generates=True,
    ),
    "mlperf": Entry(
        options="lmbench.suite.params:MlperfParams",
        target="lmbench.workloads.mlperf:run",
        about="the subject driven and judged by MLCommons' LoadGen",
        needs=(LOADGEN,),
        generates=True,
    ),
}
