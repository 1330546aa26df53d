"""Which requests keep the promise, and what rate they allow: goodness, attainment, goodput, recovery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmbench.load.attainment import attainment_interval
from lmbench.load.requests import COMPLETED, PENDING, RequestLog
from lmbench.suite.params import Slo

MIN_RECOVERED = 3
"""Fewer good requests than this do not show that a service has recovered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an SLO says about some requests; `attainment` and its 95 % interval are None for no requests."""

    requests: int
    good: int
    attainment: float | None
    low: float | None
    high: float | None
    met: bool
    target: float = 0.0
    """The share asked for."""

    @property
    def resolved(self) -> bool:
        """Whether the interval lies on one side of the target, so that more requests would hardly change `met`."""
        return self.low is not None and self.high is not None and (self.low >= self.target or self.high < self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustainable:
    """The highest rate that kept the SLO; `resolved` when a higher one broke it, else it is only a lower bound."""

    rate: float | None
    step: int | None
    resolved: bool
    reason: str


def good(log: RequestLog, slo: Slo) -> bool:
    """True when the request completed and met every objective that is set; failed and rejected ones never do.

    `tpot_s` does not bind a request of one token, which has no time between tokens. What was not measured was not met.
    """
    if log.status != COMPLETED:
        return False
    tpot = slo.tpot_s if log.tokens > 1 else None
    pairs = ((log.ttft_s, slo.ttft_s), (log.latency_s, slo.latency_s), (log.tpot_s, tpot))
    return all(limit is None or (value is not None and value <= limit) for value, limit in pairs)


def judge(logs: Sequence[RequestLog], slo: Slo) -> Verdict:
    """Attainment over all of `logs`, failures included, against the target share. No requests: nothing was broken."""
    flags = [good(log, slo) for log in logs]
    count = sum(flags)
    if not logs:
        return Verdict(requests=0, good=0, attainment=None, low=None, high=None, met=True, target=slo.attainment)
    share = count / len(logs)
    low, high = attainment_interval(flags)
    met = share >= slo.attainment
    return Verdict(requests=len(logs), good=count, attainment=share, low=low, high=high, met=met, target=slo.attainment)


def hopeless(log: RequestLog, slo: Slo, now: float) -> bool:
    """True when a request still pending at `now` cannot become good any more."""
    if log.status != PENDING:
        return False
    waited = now - log.request.scheduled_s
    if slo.latency_s is not None and waited > slo.latency_s:
        return True
    return slo.ttft_s is not None and log.started_s is None and waited > slo.ttft_s


def still_reachable(logs: Sequence[RequestLog], slo: Slo, now: float) -> bool:
    """True when the target share would be reached if every pending request with any hope left became good."""
    hopeful = sum(good(log, slo) or (log.status == PENDING and not hopeless(log, slo, now)) for log in logs)
    return not logs or hopeful / len(logs) >= slo.attainment


def goodput(logs: Sequence[RequestLog], slo: Slo, duration_s: float) -> float:
    """Good requests per second of `duration_s` (Zhong et al., DistServe, OSDI 2024)."""
    return sum(good(log, slo) for log in logs) / duration_s


def max_sustainable(steps: Sequence[tuple[float, bool]]) -> Sustainable:
    """The highest rate of `steps` (rate, SLO met; rising rates) such that it and all lower ones met the SLO."""
    held = 0
    while held < len(steps) and steps[held][1]:
        held += 1
    if not steps:
        return Sustainable(rate=None, step=None, resolved=False, reason="no step was run")
    if held == 0:
        reason = f"the first step ({steps[0][0]:.4g} requests/s) already broke the SLO; lower start_rate or loosen the SLO"
        return Sustainable(rate=None, step=None, resolved=True, reason=reason)
    rate = steps[held - 1][0]
    if held == len(steps):
        reason = f"the SLO never broke: at least {rate:.4g} requests/s; raise max_steps, growth or start_rate to find the limit"
        return Sustainable(rate=rate, step=held - 1, resolved=False, reason=reason)
    reason = f"{rate:.4g} requests/s held, {steps[held][0]:.4g} requests/s broke"
    return Sustainable(rate=rate, step=held - 1, resolved=True, reason=reason)


def recovery_s(logs: Sequence[RequestLog], slo: Slo, ramp_end_s: float) -> tuple[float | None, str]:
    """Seconds from the ramp's end to the scheduled moment from which requests meet the SLO again, or why not.

    That moment is the earliest good request from which on the attainment of all that follow reaches the target.
    """
    ordered = sorted(logs, key=lambda log: log.request.scheduled_s)
    flags = [good(log, slo) for log in ordered]
    for place, flag in enumerate(flags):
        rest = flags[place:]
        if len(rest) < MIN_RECOVERED:
            break
        if flag and sum(rest) / len(rest) >= slo.attainment:
            return ordered[place].request.scheduled_s - ramp_end_s, ""
    return None, f"requests did not meet the SLO again within the recovery step ({sum(flags)} of {len(flags)} were good)"
