"""What no number of replicas changes: time per output token and the share of failed requests, as stress runs show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np

from lmbench.capacity.nouns import ERROR_RATE, Estimate
from lmbench.capacity.plan_file import QUANTILES
from lmbench.capacity.stressed import StressRun

ENDS = (0.025, 0.975)


def steady(runs: Sequence[StressRun]) -> tuple[dict[str, Estimate], dict[str, str]]:
    """('tpot p95' and the like in s, 'error_rate' as a share; and of those that cannot be told, why not), below the knee."""
    found: dict[str, Estimate] = {}
    why: dict[str, str] = {}
    tokens = [times for times in map(_tpot, runs) if times]
    for quantile in QUANTILES:
        name, share = f"tpot {quantile}", float(quantile[1:]) / 100
        one = quantile_of(tokens, share) if tokens else None
        if one is not None:
            found[name] = one
        elif tokens:
            why[name] = f"{sum(map(len, tokens))} requests cannot tell {quantile}: that takes {fewest(share)}"
        else:
            why[name] = "below the knee no request has two tokens whose times are known"
    counts = [(sum(step.failed for step in run.below_knee), sum(step.ended for step in run.below_knee)) for run in runs]
    if any(ended for _, ended in counts):
        found[ERROR_RATE] = share_of([pair for pair in counts if pair[1]])
    else:
        why[ERROR_RATE] = "no rate below the knee was measured"
    return found, why


def quantile_of(runs: Sequence[Sequence[float]], share: float) -> Estimate | None:
    """The quantile of all `runs` together; None where so few requests leave its upper end open.

    Its interval is that of order statistics, whatever the distribution (Hahn & Meeker 1991, 5.2), requests taken as independent,
    and holds each run's own quantile.
    """
    from scipy.stats import binom

    times = np.sort(np.fromiter(chain.from_iterable(runs), dtype=float))
    first, last = (int(binom.ppf(end, len(times), share)) for end in ENDS)
    if last >= len(times):
        return None
    own = [float(np.quantile(run, share)) for run in runs]
    low, high = float(times[max(0, first - 1)]), float(times[last])
    return Estimate(value=float(np.quantile(times, share)), low=min(low, *own), high=max(high, *own), n=len(times))


def fewest(share: float) -> int:
    """Requests that it takes for the largest of them to be above this quantile at all but 2.5 %."""
    return math.ceil(math.log(1 - ENDS[1]) / math.log(share))


def share_of(counts: Sequence[tuple[int, int]]) -> Estimate:
    """The share of failed requests, from (failed, ended) of each run.

    Its interval is that of Clopper and Pearson (1934), which is never too narrow, requests taken as independent, and holds each
    run's own share.
    """
    from scipy.stats import binomtest

    failed, ended = (sum(column) for column in zip(*counts, strict=True))
    ends = binomtest(failed, ended).proportion_ci(confidence_level=0.95, method="exact")
    own = [bad / of for bad, of in counts]
    return Estimate(value=failed / ended, low=min(float(ends.low), *own), high=max(float(ends.high), *own), n=ended)


def _tpot(run: StressRun) -> list[float]:
    """Of the requests below the knee; in seconds.

    In process a request's time per token does not hang on how long it waited, so that every rate tells of it. What an endpoint,
    or a batch, serves at once grows with the rate: there only the highest rate counts, which is the unfavourable end.
    """
    steps = run.below_knee
    if run.is_endpoint or run.batch > 1:
        highest = max((step.asked_rate for step in steps), default=0.0)
        steps = tuple(step for step in steps if step.asked_rate == highest)
    return list(chain.from_iterable(step.tpot_s for step in steps))
