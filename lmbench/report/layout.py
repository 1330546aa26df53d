"""What is shown first: the main metrics of each workload, and the order and names of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lmbench.base.catalogue import METRICS

MAIN: Mapping[str, tuple[str, ...]] = {
    "training_step": ("step_p50_s", "trained_tokens_per_s", "loss_after", "peak_rss_bytes", "mfu"),
    "data_parallel": ("scaling_efficiency", "exchange_share", "contention_share", "trained_tokens_per_s", "step_p50_s"),
    "latency": ("ttft_p50_s", "tpot_p50_s", "latency_p50_s", "output_tokens_per_s", "perplexity", "bits_per_byte"),
    "throughput": ("output_tokens_per_s", "best_batch", "mfu", "mbu"),
    "scoring": (
        "latency_p50_s",
        "scored_tokens_per_s",
        "perplexity",
        "bits_per_byte",
        "masked_perplexity",
        "pseudo_perplexity",
        "mfu",
    ),
    "tasks": ("cloze_accuracy", "choice_accuracy", "latency_p50_s", "perplexity", "bits_per_byte"),
    "cold_start": ("cold_start_p50_s", "startup_s", "load_s", "first_call_s", "export_s", "disk_bytes"),
    "memory": ("peak_rss_bytes", "weights_bytes", "state_bytes_per_token", "disk_bytes"),
    "stress": ("max_sustainable_rate", "goodput_requests_per_s", "service_p50_s", "latency_p95_s", "slo_attainment"),
    "mlperf": ("latency_p50_s", "latency_p99_s", "requests_per_s", "output_tokens_per_s"),
}
"""Workload -> the metrics a reader looks for first; all others follow in the catalogue's order."""

SERIES: Mapping[str, str] = {
    "step": "time of one optimizer step (data_parallel: of all processes together)",
    "step_apart": "the same of all processes at once, each for itself",
    "step_alone": "the same of one process while the others wait",
    "ttft": "time to first token",
    "tpot": "time per output token after the first",
    "itl": "gap between neighbouring output tokens",
    "cold_start": "from starting a process to its first token",
    "latency": "whole request, from the scheduled send (scoring: one pass; tasks: one item)",
    "service": "whole request, queueing excluded",
    "prefill": "forward pass over the prompt",
    "decode": "one decode step",
    "round": "one round",
}
"""Series name -> what one sample of it is."""

_ORDER = {name: position for position, name in enumerate(METRICS)}


def is_main(workload: str, metric: str) -> bool:
    """Whether `metric` is among the first to be looked for in `workload`; a plain benchmark test has none and shows all."""
    return metric in MAIN.get(workload, (metric,))


def ordered(workload: str, names: Iterable[str]) -> list[str]:
    """`names` without repetitions: main ones first, then the catalogue's order, then unknown ones by name."""
    main = {name: position for position, name in enumerate(MAIN.get(workload, ()))}
    return sorted(
        dict.fromkeys(names),
        key=lambda name: (main.get(name, len(main)), _ORDER.get(name, len(_ORDER)), name),
    )


def about(metric: str) -> str:
    """The catalogue's sentence on a metric; empty for an unknown one."""
    return METRICS[metric].about if metric in METRICS else ""
