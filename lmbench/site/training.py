"""Training: steps, tokens per second, utilization and memory of every training case, and what plans make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lmbench.base.errors import SubjectError
from lmbench.base.registry import WORKLOADS
from lmbench.capacity.training import LEFT_OUT, training_plan
from lmbench.record.record import Record
from lmbench.report.scale import Axis
from lmbench.report.training_plan import INTERVAL, TrainingReport, answer, span, training_table
from lmbench.site.nouns import Page, Stored, Trail
from lmbench.site.plots import Curve, Plot

SHOWN = (
    "trained_tokens_per_s",
    "step_p50_s",
    "scaling_efficiency",
    "exchange_share",
    "mfu",
    "loss_after",
    "peak_rss_bytes",
    "optimizer_bytes",
)
TRAINING = frozenset(name for name, entry in WORKLOADS.items() if entry.trains)
BILLION = 1e9


def page(stored: Stored, trainings: Sequence[TrainingReport] = ()) -> Page:
    """The newest record of every training case, what it takes per billion tokens, training plans, and the times of its steps."""
    trails = [trail for trail in stored.trails.values() if trail.workload in TRAINING]
    measured = [(trail, trail.measured) for trail in trails if trail.measured is not None]
    plots = [plot for trail, record in measured for plot in _steps(trail, record)]
    shown = [name for name in SHOWN if any(name in record.metrics for _, record in measured)]
    return Page(
        path="training.html",
        title="Training",
        template="training.html.j2",
        scripts=("uplot.js", "plots.js"),
        data={"plots": [plot.to_json() for plot in plots], "columns": {}},
        content={
            "rows": [_row(trail, record, shown) for trail, record in measured],
            "shown": shown,
            "failed": [trail for trail in trails if trail.newest.failure],
            "per_billion": list(_per_billion(measured)),
            "caveats": (INTERVAL, f"{LEFT_OUT[:1].upper()}{LEFT_OUT[1:]}."),
            "plans": [(one, answer(one.plans), training_table(one.plans)) for one in trainings],
            "plots": plots,
        },
    )


def _row(trail: Trail, record: Record, shown: list[str]) -> dict[str, Any]:
    return {
        "trail": trail,
        "path": f"cases/{trail.slug}.html",
        "metrics": [record.metrics.get(name) for name in shown],
        "precision": str(record.details.get("precision") or "-"),
        "at": record.started_at,
    }


def _per_billion(measured: Sequence[tuple[Trail, Record]]) -> Iterator[dict[str, Any]]:
    """One machine, one billion tokens, by every record that tells a rate."""
    for trail, record in measured:
        try:
            plan = training_plan(record, BILLION)
        except SubjectError:
            continue
        told = {"time": span(plan.time_s, plan.time_interval_s), "path": f"cases/{trail.slug}.html"}
        yield {"id": trail.newest.case.id, "machine_class": trail.machine_class, "plan": plan, **told}


def _steps(trail: Trail, record: Record) -> list[Plot]:
    times = list(record.series.get("step", ()))
    if len(times) < 2:
        return []
    return [
        Plot(
            title=f"Time of each optimizer step: {trail.newest.case.id}",
            x=Axis(title="step", unit="count"),
            y=Axis(title="time", unit="s", zero=True),
            at=[float(place) for place in range(1, len(times) + 1)],
            curves=(Curve(name="step", values=times),),
            note=f"{trail.machine_class}, n = {len(times)}, in the order they were taken",
        )
    ]
