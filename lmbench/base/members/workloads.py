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
        trains="trainer",
        tripwired=("step_p50_s", "trained_tokens_per_s"),
        decided_by=("step_p50_s", "trained_tokens_per_s"),
        per_round=("step_p50_s", "samples_per_s", "trained_tokens_per_s"),
    ),
    "data_parallel": Entry(
        options="lmbench.suite.params:DataParallelParams",
        target="lmbench.workloads.data_parallel:run",
        about="one model trained by several processes in step: how far they scale, and what the exchange of gradients costs",
        trains="replica",
        tripwired=("step_p50_s", "trained_tokens_per_s"),
        decided_by=("step_p50_s", "trained_tokens_per_s"),
    ),
    "latency": Entry(
        options="lmbench.suite.params:LatencyParams",
        target="lmbench.workloads.latency:run",
        source="lmbench.workloads.latency:source",
        about="one generation at a time: first token, per token, end to end",
        generates=True,
        tripwired=("ttft_p50_s", "tpot_p50_s", "latency_p50_s", "prefill_p50_s", "decode_p50_s", "output_tokens_per_s"),
        decided_by=("ttft_p50_s", "tpot_p50_s", "latency_p50_s", "output_tokens_per_s"),
        per_round=("ttft_p50_s", "tpot_p50_s", "latency_p50_s", "prefill_p50_s", "decode_p50_s", "output_tokens_per_s"),
    ),
    "throughput": Entry(
        options="lmbench.suite.params:ThroughputParams",
        target="lmbench.workloads.throughput:run",
        source="lmbench.workloads.throughput:source",
        about="batch size swept until throughput stops rising",
        generates=True,
        tripwired=("output_tokens_per_s", "total_tokens_per_s"),
        decided_by=("output_tokens_per_s", "total_tokens_per_s"),
        per_round=("output_tokens_per_s", "total_tokens_per_s"),
    ),
    "scoring": Entry(
        options="lmbench.suite.params:ScoringParams",
        target="lmbench.workloads.scoring:run",
        source="lmbench.workloads.scoring:source",
        about="one full forward pass over text, logits at every position",
        tripwired=("latency_p50_s", "scored_tokens_per_s"),
        decided_by=("latency_p50_s", "scored_tokens_per_s"),
        per_round=("latency_p50_s", "scored_tokens_per_s"),
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
        tripwired=("cold_start_p50_s",),
        decided_by=("cold_start_p50_s",),
    ),
    "memory": Entry(
        options="lmbench.suite.params:MemoryParams",
        target="lmbench.workloads.memory:run",
        about="every term of memory, measured beside its estimate",
        decided_by=("peak_rss_bytes", "weights_rss_bytes", "activations_bytes", "device_peak_bytes"),
    ),
    "stress": Entry(
        options="lmbench.suite.params:StressParams",
        target="lmbench.workloads.stress:run",
        about="requests at scheduled moments, the rate ramped, searched or shaped, until an SLO breaks",
        takes=("module", "onnx", "fake", ENDPOINT),
        check="lmbench.load.declared:faults",
        generates=True,
        tripwired=("service_p50_s", "max_sustainable_rate"),
        decided_by=("service_p50_s", "max_sustainable_rate"),
    ),
    "mlperf": Entry(
        options="lmbench.suite.params:MlperfParams",
        target="lmbench.workloads.mlperf:run",
        about="the subject driven and judged by MLCommons' LoadGen",
        needs=(LOADGEN,),
        generates=True,
        tripwired=("latency_p50_s", "requests_per_s"),
        decided_by=("latency_p50_s", "requests_per_s"),
    ),
}
