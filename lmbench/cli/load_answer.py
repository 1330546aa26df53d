"""What `lmbench load` prints when the run is over: the steps, the limit, what broke, how sure all that is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lmbench.base.units import pretty
from lmbench.record.record import Record
from lmbench.report.load_figures import STEP_HEAD, step_table

SHOWN = ("step", "state", "offered", "achieved", "goodput", "latency p50", "p95", "ttft p95", "attainment", "sent", "failed")
ANSWERS = (
    "max_sustainable_rate",
    "goodput_requests_per_s",
    "output_tokens_per_s",
    "ttft_p95_s",
    "tpot_p95_s",
    "latency_p95_s",
    "slo_attainment",
    "availability",
)


def print_record(record: Record, console: Console) -> None:
    """The record of a load run as a terminal or a CI log shows it; sentences are wrapped in a terminal only."""
    whole = not console.is_terminal
    if record.failure is not None:
        console.print(f"{record.failure.kind}: {record.failure.message}", markup=False, soft_wrap=whole)
        return
    console.print()
    found = step_table(record)
    if found is not None:
        places = [STEP_HEAD.index(name) for name in SHOWN]
        table = Table(*SHOWN, box=None, pad_edge=False)
        for row in found.rows:
            table.add_row(*(row[place] for place in places))
        console.print(table, markup=False)
        console.print()
    for name in ANSWERS:
        metric = record.metrics.get(name)
        if metric is None:
            continue
        value = metric.reason if metric.value is None else f"{pretty(metric.value, metric.unit)} (n = {metric.n or '-'})"
        console.print(f"{name:24} {value}", markup=False, soft_wrap=whole)
    for note in record.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=whole)
