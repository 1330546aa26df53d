"""Every metric lmbench can record: unit, direction, kind, tolerance and meaning; the only place that names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOWER, HIGHER = "lower", "higher"
PERCENTILES = (50, 90, 95, 99)
TAIL = 99.9
"""The percentile that only load runs have requests enough for."""
MIB = float(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """`kind` decides how a metric may be gated.

    time, rate: noisy, only the tripwire may fail a single run. exact: the same on every run of one machine,
    gated at `tolerance`. memory: nearly so, gated at `tolerance` beyond `floor`. info: never gated.
    """

    unit: str
    better: str | None
    kind: str
    about: str
    tolerance: float | None = None
    """Relative change for the worse that is still ok."""
    floor: float = 0.0
    """Absolute change, in `unit`, below which nothing is reported."""


def _time(about: str) -> MetricSpec:
    return MetricSpec(unit="s", better=LOWER, kind="time", about=about)


def _rate(unit: str, about: str) -> MetricSpec:
    return MetricSpec(unit=unit, better=HIGHER, kind="rate", about=about)


def _memory(about: str, *, tolerance: float = 0.05, floor: float = 8 * MIB) -> MetricSpec:
    return MetricSpec(unit="bytes", better=LOWER, kind="memory", about=about, tolerance=tolerance, floor=floor)


def _size(about: str, unit: str = "bytes") -> MetricSpec:
    return MetricSpec(unit=unit, better=LOWER, kind="exact", about=about, tolerance=0.001)


def _quality(unit: str, better: str, about: str, *, tolerance: float, floor: float = 0.0) -> MetricSpec:
    return MetricSpec(unit=unit, better=better, kind="exact", about=about, tolerance=tolerance, floor=floor)


def _info(unit: str, about: str) -> MetricSpec:
    return MetricSpec(unit=unit, better=None, kind="info", about=about)


def _distribution(name: str, about: str) -> dict[str, MetricSpec]:
    table = {f"{name}_mean_s": _time(f"mean of {about}")}
    return table | {f"{name}_p{q}_s": _time(f"{q}th percentile of {about}") for q in PERCENTILES}


def _tails() -> dict[str, MetricSpec]:
    names = {"ttft": "the time to first token", "tpot": "the time per output token", "itl": "the gap between tokens"}
    names |= {"latency": "the time from the scheduled send to the last token", "service": "the time of service"}
    return {f"{name}_p999_s": _time(f"99.9th percentile of {about} under load") for name, about in names.items()}


_BATCH = re.compile(r"output_tokens_per_s_batch_[1-9][0-9]{0,8}")


def of_batch(size: int) -> str:
    """The name of the rate of one batch size of a sweep."""
    return f"output_tokens_per_s_batch_{size}"


def is_of_batch(name: str) -> bool:
    """Whether a metric is the rate of one batch size."""
    return _BATCH.fullmatch(name) is not None


class Catalogue(dict[str, MetricSpec]):
    """Metrics by name. The rates of single batch sizes are in it, one for every size, but are not listed one by one."""

    def __missing__(self, name: str) -> MetricSpec:
        if not is_of_batch(name):
            raise KeyError(name)
        return _rate("tokens/s", f"generated tokens per second at batch {name.rpartition('_')[2]}")

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and is_of_batch(name))

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


_LISTED: Mapping[str, MetricSpec] = {
    # time
    **_distribution("step", "the time of one optimizer step"),
    **_distribution("ttft", "the time to first token, from the scheduled send time"),
    **_distribution("tpot", "a request's mean time per output token after the first"),
    **_distribution("itl", "the gap between neighbouring output tokens, pooled over requests"),
    **_distribution("latency", "the time from the scheduled send to the last token"),
    **_distribution("service", "the time from start of service to the last token (queueing excluded)"),
    **_distribution("cold_start", "the time from starting a process to its first token"),
    **_distribution("prefill", "the forward pass over the prompt"),
    **_distribution("decode", "one decode step"),
    **_tails(),
    "round_p50_s": _time("median time per iteration of a plain pytest-benchmark test"),
    "round_cpu_p50_s": _time("median CPU time of the calling thread per iteration of a plain pytest-benchmark test"),
    "startup_s": _time("the interpreter, lmbench and the engine's libraries, from the start of a process"),
    "first_call_s": _time("the first call, compilation and lazy initialisation included"),
    "compress_s": _time("making the compressed model of its parent: pruning, quantizing a module; training is cached"),
    "export_s": _time("making the file the engine loads: export, conversion, quantization; measured when it was made"),
    "load_s": _time("loading the compressed model or its file into the engine"),
    "recovery_s": _time("from the end of the ramp until requests meet the SLO again"),
    # rates
    "output_tokens_per_s": _rate("tokens/s", "generated tokens per second; `output_tokens_per_s_batch_8`: at batch 8 of a sweep"),
    "total_tokens_per_s": _rate("tokens/s", "prompt and generated tokens per second"),
    "trained_tokens_per_s": _rate("tokens/s", "tokens through forward, backward and optimizer per second"),
    "scored_tokens_per_s": _rate("tokens/s", "tokens through a forward pass with logits at every position per second"),
    "scaling_efficiency": _rate("1", "rate of all processes together over that of one alone times their number"),
    "samples_per_s": _rate("samples/s", "sequences through a training step per second"),
    "requests_per_s": _rate("requests/s", "completed requests per second"),
    "goodput_requests_per_s": _rate("requests/s", "requests that meet every SLO, per second, at the highest sustained step"),
    "max_sustainable_rate": _rate("requests/s", "highest offered rate whose SLO attainment reached the target"),
    "knee_rate": _rate("requests/s", "highest offered rate before latency turns upwards"),
    "availability": _rate("1", "share of all requests that were answered completely"),
    "mfu": _rate("1", "model FLOPs per second over this machine's measured matmul peak at the same precision"),
    "mbu": _rate("1", "bytes that decoding must read per second over this machine's measured memory bandwidth"),
    "slo_attainment": _rate("1", "share of all requests that met every SLO"),
    "exchange_share": _info("1", "share of a step in which processes exchange gradients and wait for each other"),
    "contention_share": _info("1", "share of a step lost to other processes that compute on the same machine"),
    "best_batch": _info("count", "batch size with the highest output tokens per second"),
    # memory
    "peak_rss_bytes": _memory("highest resident memory of the process during the workload"),
    "weights_rss_bytes": _memory("growth of resident memory from loading the subject", tolerance=0.10, floor=16 * MIB),
    "activations_bytes": _memory("peak growth of resident memory in one forward pass", tolerance=0.25, floor=16 * MIB),
    "device_peak_bytes": _memory("highest allocator memory on the device"),
    "weights_bytes": _size("the subject's weights"),
    "weights_estimate_bytes": _size("the subject's weights, from parameters x element size"),
    "state_bytes_per_token": _size("growth of the KV cache per token and sequence", unit="bytes/token"),
    "state_estimate_bytes_per_token": _size("the same from layers, heads and widths", unit="bytes/token"),
    "activations_estimate_bytes": _info("bytes", "activations of one forward pass, from the model's shapes"),
    "gradient_bytes": _size("gradients after one training step"),
    "optimizer_bytes": _size("optimizer state after one training step"),
    "optimizer_estimate_bytes": _size("the same from two moments per parameter"),
    "disk_bytes": _size("the subject's file or files"),
    "parameters": _size("trainable and fixed numbers of the model", unit="count"),
    # quality
    "perplexity": _quality("1", LOWER, "exp(mean loss) on fixed validation windows", tolerance=0.001),
    "masked_perplexity": _quality("1", LOWER, "the same of tokens hidden, every eighth at once, each once", tolerance=0.001),
    "pseudo_perplexity": _quality("1", LOWER, "the same of tokens predicted from all others, on both sides", tolerance=0.001),
    "bits_per_byte": _quality(
        "bits/byte", LOWER, "negative log2-likelihood of the windows over their UTF-8 bytes", tolerance=0.001
    ),
    "perplexity_ratio": _quality("1", LOWER, "perplexity, of whichever kind, over the fp32 parent's", tolerance=0.001),
    "kl_divergence": _quality("nats", LOWER, "mean KL divergence parent || subject per token", tolerance=0.05, floor=1e-4),
    "top1_agreement": _quality("1", HIGHER, "share of positions with the parent's most likely token", tolerance=0.005),
    "max_logit_difference": _quality("1", LOWER, "largest absolute logit difference to the parent", tolerance=0.10, floor=1e-3),
    "cloze_accuracy": _quality(
        "1", HIGHER, "share of passages whose missing last word is the greedy continuation", tolerance=0.005, floor=0.01
    ),
    "choice_accuracy": _quality(
        "1", HIGHER, "share of items whose right line, of four, is the likeliest per character", tolerance=0.005, floor=0.01
    ),
    "loss_before": _quality("nats", LOWER, "loss on a fixed batch before training", tolerance=0.01),
    "loss_after": _quality("nats", LOWER, "loss on the same batch after a fixed number of steps", tolerance=0.02),
    "gradient_norm": _info("1", "L2 norm of the gradient at the last step"),
    "sparsity": _info("1", "share of weights that are exactly zero"),
    # stress accounts
    "offered_rate": _info("requests/s", "arrivals per second scheduled in the highest step"),
    "achieved_rate": _info("requests/s", "completions per second in the highest step"),
    "errors": MetricSpec(
        unit="count", better=LOWER, kind="info", about="requests that did not complete, cancelled ones left out"
    ),
    "leak_bytes_per_request": MetricSpec(
        unit="bytes", better=LOWER, kind="info", about="growth of the service's resident memory per request in a soak"
    ),
    "latency_drift_per_h": MetricSpec(unit="1", better=LOWER, kind="info", about="relative change of latency per hour of a soak"),
    "queue_depth_max": _info("count", "most requests waiting at once"),
    "sender_lag_p99_s": _info("s", "99th percentile of sent minus scheduled: the client's own lateness"),
    "loop_lag_p99_s": _info("s", "99th percentile of how late an endpoint's client was to look at its connections"),
    # resources
    "cpu_utilization": _info("1", "CPU time of the process tree over wall time and available CPUs"),
    "energy_j": MetricSpec(
        unit="J", better=LOWER, kind="info", about="energy of the packages and of the devices used, while measuring"
    ),
    "energy_per_token_j": MetricSpec(
        unit="J/token", better=LOWER, kind="info", about="energy of the timed rounds per token, prompts included"
    ),
}

METRICS: Mapping[str, MetricSpec] = Catalogue(_LISTED)
