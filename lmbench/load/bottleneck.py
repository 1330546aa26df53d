"""Which resource gave out first: a classification that states its evidence, made from counts, times and shares alone."""

from __future__ import annotations

from lmbench.base.units import pretty
from lmbench.load.evidence import Bottleneck, Evidence

LATE_CLIENT = 0.10
"""A client later than this share of the median latency has measured itself."""
BUSY = 0.8
"""Above this utilization queueing dominates: at 0.8 an M/D/1 request waits twice its service time on average."""
BUSY_CLIENT = 0.9
"""A client process that uses more than this share of its CPUs cannot be trusted to be on time."""
LOST = 0.05
"""More than this share of the CPUs stolen by the hypervisor, or of the time throttled by a quota, is not the subject's doing."""
FULL = 0.95
"""Memory in use over its limit from which allocation fails, evicts or swaps."""
STALLED = 0.05
"""Share of the time some task waited for memory (pressure stall information: Linux, Documentation/accounting/psi.rst)."""
SWAPPED_BYTES = 16 * 2**20
SEVERAL, WAITING = 1.5, 2.0
"""Requests open, and latency over that of one by itself, from which an endpoint is taken to queue."""
NEAR_CEILING = 0.7
"""Share of the measured bandwidth ceiling that real access patterns hardly exceed."""


def late_client(lag_p99_s: float, median_latency_s: float | None, allowed_s: float = 0.0) -> bool:
    """True when the client's own lateness is too large a part of the latencies for them to be believed."""
    return median_latency_s is not None and lag_p99_s > max(allowed_s, LATE_CLIENT * median_latency_s)


def classify(evidence: Evidence) -> Bottleneck:
    """The first rule that fits. A rule stands before those whose evidence it would void or whose cure it would make useless:

    1. client (late, its loop late, its CPU used up): what was measured is the client; nothing else can be believed.
    2. not reached: nothing broke, so nothing is to blame.
    3. queue limit, errors: when most bad requests were turned away or failed, lateness is not the question.
    4. stolen CPU, throttling: the subject did not have the machine. Both make CPUs look idle and service look slow.
    5. memory: swapping and reclaim make everything slow while CPUs idle, and look like a long service time.
    6. service time: alone above the objective, so that no more of any resource lets a request wait less than that.
    7. memory bandwidth: a core or GPU that waits for memory counts as busy, and more cores would not help.
    8. gpu memory, gpu: full memory counts only on a GPU that is not busy, where it limits the batch (servers fill it on purpose).
       Threads that wait for a GPU often spin, so a busy GPU stands before a busy CPU.
    9. cpu (of this process), server cpu: every worker of an exhausted CPU is busy too; the CPU is the reason.
    10. batcher, queue (workers), queue (server): nothing is exhausted and yet requests wait: what admits them is too narrow.
        Full batches keep workers busy, so the batcher comes first. A server's queue is seen from outside alone: several
        requests open, each taking a multiple of what one takes by itself, and CPUs with time left.
    """
    for rule in _RULES:
        if (found := rule(evidence)) is not None:
            return found
    return Bottleneck(
        resource="unclear",
        because=f"nothing that could be seen was saturated: {_seen(evidence)}",
        recommendation="look at the sampler's steal, throttling and memory pressure for this case, and repeat it",
    )


def _seen(evidence: Evidence) -> str:
    shares = {"CPUs": evidence.cpu_utilization, "the server's CPUs": evidence.server_cpu_utilization}
    shares |= {"workers": evidence.worker_utilization, "the GPU": evidence.gpu_utilization}
    return ", ".join(f"{name} busy {_share(value)}" for name, value in shares.items() if value is not None) or "no share is known"


def _client(evidence: Evidence) -> Bottleneck | None:
    median = evidence.median_latency_s
    used, lag = evidence.client_cpu_utilization, evidence.loop_lag_p99_s
    if late_client(evidence.sender_lag_p99_s, median, evidence.lateness_allowed_s):
        because = f"requests left up to {evidence.sender_lag_p99_s * 1e3:.2f} ms late (p99), more than {LATE_CLIENT:.0%} of the "
        because += f"median latency of {(median or 0.0) * 1e3:.2f} ms"
    elif lag is not None and late_client(lag, median, evidence.lateness_allowed_s):
        because = f"its event loop was up to {lag * 1e3:.2f} ms late (p99), more than {LATE_CLIENT:.0%} of the median latency of "
        because += f"{(median or 0.0) * 1e3:.2f} ms"
    elif _reaches(used, BUSY_CLIENT):
        because = f"a client process used {_share(used)} of the CPU it can use: headroom {_share(1 - (used or 0.0))}"
    else:
        return None
    return Bottleneck(
        resource="client",
        because=because,
        recommendation="leave the sender a core of its own (fewer threads for the subject), add client processes, or lower rates",
    )


def _not_reached(evidence: Evidence) -> Bottleneck | None:
    if evidence.broke:
        return None
    return Bottleneck(
        resource="not reached",
        because="the SLO held at every rate",
        recommendation="raise max_steps, growth or start_rate to find the limit",
    )


def _errors(evidence: Evidence) -> Bottleneck | None:
    bad, rejected = evidence.requests - evidence.good, evidence.rejected or 0
    if rejected * 2 > bad:
        room = "" if evidence.queue_limit is None else f" of {evidence.queue_limit}"
        return Bottleneck(
            resource="queue limit",
            because=f"{rejected} of {bad} bad requests were turned away by a full queue{room}",
            recommendation="add workers or replicas: a longer queue only turns rejections into waiting",
        )
    if (evidence.failed + rejected) * 2 > bad:
        return Bottleneck(
            resource="errors",
            because=f"{evidence.failed + rejected} of {bad} bad requests failed rather than being late",
            recommendation="read the errors of the step before tuning anything",
        )
    return None


def _taken_cpu(evidence: Evidence) -> Bottleneck | None:
    if _reaches(evidence.stolen_share, LOST):
        return Bottleneck(
            resource="stolen cpu",
            because=f"the hypervisor gave {_share(evidence.stolen_share)} of the CPUs to others",
            recommendation="repeat the run on a machine with dedicated CPUs",
        )
    if _reaches(evidence.throttled_share, LOST):
        return Bottleneck(
            resource="cpu quota",
            because=f"the control group's quota held the process back {_share(evidence.throttled_share)} of the time",
            recommendation="raise the CPU limit of the container, or use no more threads than it allows",
        )
    return None


def _memory(evidence: Evidence) -> Bottleneck | None:
    signs = []
    if _full(evidence.rss_bytes, evidence.memory_limit_bytes):
        signs.append(f"{_amount(evidence.rss_bytes)} of {_amount(evidence.memory_limit_bytes)} were in use")
    if _reaches(evidence.swap_bytes, SWAPPED_BYTES):
        signs.append(f"{_amount(evidence.swap_bytes)} were swapped during the step")
    if _reaches(evidence.memory_stall_share, STALLED):
        signs.append(f"tasks waited for memory {_share(evidence.memory_stall_share)} of the time")
    if not signs:
        return None
    return Bottleneck(
        resource="memory",
        because="; ".join(signs),
        recommendation="hold less: fewer workers, shorter contexts, smaller weights; or take a machine with more memory",
    )


def _service_time(evidence: Evidence) -> Bottleneck | None:
    if not _reaches(evidence.service_over_slo, 1.0):
        return None
    return Bottleneck(
        resource="service time",
        because=f"the median service time alone is {evidence.service_over_slo:.2f} times the latency objective",
        recommendation="use a faster model, backend or compression, fewer output tokens, or a looser SLO",
    )


def _bandwidth(evidence: Evidence) -> Bottleneck | None:
    if not _reaches(evidence.bandwidth_utilization, NEAR_CEILING):
        return None
    return Bottleneck(
        resource="memory bandwidth",
        because=f"the model's bytes were read at {_share(evidence.bandwidth_utilization)} of this machine's measured bandwidth",
        recommendation="read fewer bytes per token: quantized weights or larger batches; more cores will not help",
    )


def _gpu(evidence: Evidence) -> Bottleneck | None:
    busy = _share(evidence.gpu_utilization)
    if _full(evidence.gpu_memory_bytes, evidence.gpu_memory_limit_bytes) and not _reaches(evidence.gpu_utilization, BUSY):
        held, limit = _amount(evidence.gpu_memory_bytes), _amount(evidence.gpu_memory_limit_bytes)
        return Bottleneck(
            resource="gpu memory",
            because=f"{held} of {limit} of the GPU were in use while it was busy {busy} of the time",
            recommendation="make room for larger batches: quantize weights or the KV cache, or shorten contexts",
        )
    if _reaches(evidence.gpu_utilization, BUSY):
        return Bottleneck(
            resource="gpu",
            because=f"the GPU was busy {busy} of the time while {evidence.queue_depth_end} requests waited",
            recommendation="use a compression or backend that needs less arithmetic per token, or more GPUs",
        )
    return None


def _cpu(evidence: Evidence) -> Bottleneck | None:
    waiting = evidence.queue_depth_end
    if _reaches(evidence.cpu_utilization, BUSY):
        return Bottleneck(
            resource="cpu",
            because=f"the process used {_share(evidence.cpu_utilization)} of its CPUs while {waiting} requests waited",
            recommendation="give it more cores, or a compression or backend that needs less arithmetic per token",
        )
    if _reaches(evidence.server_cpu_utilization, BUSY):
        return Bottleneck(
            resource="server cpu",
            because=f"the server's processes used {_share(evidence.server_cpu_utilization)} of their CPUs",
            recommendation="give the server more cores or replicas, or a model that needs less arithmetic per token",
        )
    return None


def _admission(evidence: Evidence) -> Bottleneck | None:
    cpu, waiting = _share(evidence.cpu_utilization), evidence.queue_depth_end
    if _reaches(evidence.batch_fill, BUSY) and waiting > 0:
        return Bottleneck(
            resource="batcher",
            because=f"batches were {_share(evidence.batch_fill)} full, CPUs busy {cpu}; {waiting} requests waited",
            recommendation="raise the largest batch",
        )
    if _reaches(evidence.worker_utilization, BUSY):
        return Bottleneck(
            resource="queue (workers)",
            because=f"{evidence.workers} worker(s) were busy {_share(evidence.worker_utilization)} of the time, CPUs {cpu}; "
            f"{waiting} requests waited",
            recommendation="raise workers, let the subject use more threads, or batch requests",
        )
    if _reaches(evidence.in_flight, SEVERAL) and _reaches(evidence.latency_over_unloaded, WAITING):
        return Bottleneck(
            resource="queue (server)",
            because=f"{evidence.in_flight:.1f} requests were open on average and took {evidence.latency_over_unloaded:.1f} times "
            f"as long as one by itself, while the server's CPUs were busy {_share(evidence.server_cpu_utilization)}",
            recommendation="let the server work on more requests at once (batching, replicas): it has CPU time left",
        )
    return None


_RULES = (
    _client,
    _not_reached,
    _errors,
    _taken_cpu,
    _memory,
    _service_time,
    _bandwidth,
    _gpu,
    _cpu,
    _admission,
)


def _reaches(value: float | None, bound: float) -> bool:
    return value is not None and value >= bound


def _full(used: float | None, limit: float | None) -> bool:
    return used is not None and limit is not None and used >= FULL * limit


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"


def _amount(size_bytes: float | None) -> str:
    return pretty(size_bytes, "bytes")
