"""Work done over what this machine can do at most: MFU, MBU and the resource metrics; a misleading ratio is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmbench.measure.ceilings import Ceilings, NoCeilings, Peaks, command
from lmbench.measure.measurement import Metric, metric

WHOLE = "package (the whole machine's)"
UNASKED = "this machine's {what} not known: run `{command}`"


def mfu(flops: float | None, seconds: float, dtype: str, ceilings: Peaks) -> Metric:
    """Model FLOPs utilization: (flops / seconds) / the measured matmul peak of the same precision.

    `flops` are those the model needs, recomputation not counted (Chowdhery et al. 2022, PaLM, appendix B).
    `dtype` is 'fp32', 'bf16' or 'int8'. None with a reason when something is unknown or the ratio exceeds 1.
    """
    if not isinstance(ceilings, Ceilings):
        return metric("mfu", None, reason=_unknown(ceilings, "ceilings are"))
    peak = ceilings.matmul_flops.get(dtype)
    if peak is None:
        return metric("mfu", None, reason=f"no measured matmul ceiling for {dtype}")
    return _ratio("mfu", _Work(amount=flops, unknown="the model's FLOPs are not known"), seconds, (peak, ceilings))


def mbu(bytes_moved: float | None, seconds: float, ceilings: Peaks) -> Metric:
    """Model bandwidth utilization: (bytes / seconds) / the measured memory bandwidth.

    `bytes_moved` are the weights and the state that a decode step must read (Agarwal et al. 2023,
    "LLM Inference Performance Engineering: Best Practices").
    """
    if not isinstance(ceilings, Ceilings):
        return metric("mbu", None, reason=_unknown(ceilings, "memory bandwidth is"))
    if ceilings.memory_bytes_per_s is None:
        reason = UNASKED.format(what="memory bandwidth is", command=command(ceilings.threads, refresh=True))
        return metric("mbu", None, reason=reason)
    work = _Work(amount=bytes_moved, unknown="the bytes a step must read are not known")
    return _ratio("mbu", work, seconds, (ceilings.memory_bytes_per_s, ceilings))


def resource_metrics(
    summary: Mapping[str, Any], *, cpus: float, work: Mapping[str, Any] | None = None, tokens: int = 0
) -> list[Metric]:
    """cpu_utilization, energy_j and energy_per_token_j from a sampler's summary.

    `cpus` are those available (see machine.usable_cpus). `work` is the energy account (see energy) of the rounds in which
    `tokens` were processed; None where nothing counted them.
    """
    return [_cpu_utilization(summary, cpus), _energy(summary), _per_token(work, tokens)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """FLOPs or bytes; `unknown` is the reason where there is no number."""

    amount: float | None
    unknown: str


def _unknown(ceilings: NoCeilings | None, what: str) -> str:
    return ceilings.reason if ceilings is not None else UNASKED.format(what=what, command=command(None))


def _ratio(name: str, work: _Work, seconds: float, against: tuple[float, Ceilings]) -> Metric:
    peak, ceilings = against
    if work.amount is None:
        return metric(name, None, reason=work.unknown)
    if seconds <= 0:
        return metric(name, None, reason=f"no time passed ({seconds:g} s)")
    value = work.amount / seconds / peak
    if value > 1:
        stale = f"the ceiling is stale or was measured under load: run `{command(ceilings.threads, refresh=True)}`"
        return metric(name, None, reason=f"the ratio would be {value:.2f}, and nothing exceeds its ceiling; {stale}")
    return metric(name, value)


def _cpu_utilization(summary: Mapping[str, Any], cpus: float) -> Metric:
    window, used = summary.get("window"), summary.get("totals", {}).get("cpu_s")
    if window is None or used is None or window["wall_s"] <= 0:
        return metric("cpu_utilization", None, reason=summary.get("problem") or "no CPU samples in the window")
    return metric("cpu_utilization", used / window["wall_s"] / cpus, n=window["samples"])


def _energy(summary: Mapping[str, Any]) -> Metric:
    account = summary.get("energy", {"total_j": None, "reason": summary.get("problem") or "no samples"})
    return metric("energy_j", account["total_j"], reason=_covers(account))


def _per_token(account: Mapping[str, Any] | None, tokens: int) -> Metric:
    if account is None or not tokens:
        return metric("energy_per_token_j", None, reason="this workload has no timed rounds whose tokens were counted")
    total = account["total_j"]
    return metric("energy_per_token_j", None if total is None else total / tokens, reason=_covers(account))


def _covers(account: Mapping[str, Any]) -> str:
    """What the joules are of; of unknown ones, why."""
    if account["total_j"] is None:
        return str(account["reason"] or "no energy counter")
    words = [WHOLE if name == "package" else name for name in account["covers"]]
    return "; ".join(filter(None, [f"covers {', '.join(words)}", account.get("note", "")]))
