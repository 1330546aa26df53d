"""How much each metric may move, and which times and rates a single run may fail on."""

from __future__ import annotations

from dataclasses import dataclass

from lmbench.base.catalogue import HIGHER, METRICS, is_of_batch
from lmbench.base.registry import WORKLOADS
from lmbench.measure.measurement import Metric
from lmbench.plan.case import Case
from lmbench.record.record import Record

NOISY = ("time", "rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The allowed change for the worse: whichever is larger of `relative` x |baseline| and `floor` (in the unit)."""

    relative: float
    floor: float
    declared: bool
    """True when the suite's gate names the metric."""

    def allowed(self, baseline: float) -> float:
        """The allowed change for the worse, in the metric's unit."""
        return max(self.relative * abs(baseline), self.floor)


def tolerance_for(case: Case, metric: Metric) -> Tolerance | None:
    """The suite's gate, else the catalogue's tolerance; None for a metric that is never gated.

    Times and rates have no catalogue tolerance (the tripwire judges them): theirs is 0 unless the suite names one.
    An info metric is gated only when the suite names it and it has a better direction.
    """
    spec = METRICS.get(metric.name)
    floor = spec.floor if spec else 0.0
    declared = case.gate.get(metric.name)
    if metric.better is None or (metric.kind == "info" and declared is None):
        return None
    if declared is not None:
        return Tolerance(relative=declared, floor=floor, declared=True)
    return Tolerance(relative=(spec.tolerance or 0.0) if spec else 0.0, floor=floor, declared=False)


def tripwired(record: Record) -> frozenset[str]:
    """Names of the record's times and rates that can fail: its workload's own, the suite's gate, means for medians.

    A mean stands in for a median that this record does not know.
    """
    workload = WORKLOADS.get(record.case.workload)  # a record may come from where more is installed
    names = {_known(name, record) for name in (workload.tripwired if workload else ())}
    if "output_tokens_per_s" in names:
        names |= {name for name in record.metrics if is_of_batch(name)}
    names |= {name for name in record.case.gate if name in METRICS and METRICS[name].kind in NOISY}
    return frozenset(names)


def is_higher_better(metric: Metric) -> bool:
    """Whether a larger value is an improvement."""
    return metric.better == HIGHER


def _known(name: str, record: Record) -> str:
    metric = record.metrics.get(name)
    if name.endswith("_p50_s") and (metric is None or metric.value is None):
        mean = name.removesuffix("_p50_s") + "_mean_s"
        return mean if mean in record.metrics else name
    return name
