"""The tables below that of the options: what happens when, sensitivity, back-tests, closed forms, the day, the records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmbench.base.units import UNKNOWN, pretty, pretty_change
from lmbench.capacity.nouns import BackTest, Surface
from lmbench.capacity.plan import Plan, Sized
from lmbench.capacity.plan_file import HOURS
from lmbench.capacity.scenarios import Outlook, Swing
from lmbench.report.capacity import CapacityReport, at_peak
from lmbench.report.capacity_figures import DAGGER, OVERLOAD, figure, marked, percent, seconds
from lmbench.report.tables import Table

MINUTES_PER_HOUR = 60
P95 = "p95"


def detail_tables(report: CapacityReport) -> list[Table]:
    """All of them, in reading order; those that have no line are left out."""
    made = (outlooks(report), tornado(report), backtests(report), the_day(report), by_load(report), records(report))
    return [table for table in made if table.rows]


def short_tables(report: CapacityReport) -> list[Table]:
    """Those for a terminal: of the loads only the one nearest to the busiest minute's, the day only where replicas follow it."""
    day = [the_day(report)] if report.plan.request.autoscale is not None else []
    made = (outlooks(report), tornado(report), backtests(report), *day, by_load(report, at_peak_only=True), records(report))
    return [table for table in made if table.rows]


def outlooks(report: CapacityReport) -> Table:
    """Each event by itself, at the busiest minute."""
    rows = [_outlook(report.plan, one, outlook) for one in report.sized for outlook in one.outlooks]
    note = (
        "Each by itself, in the busiest minute, with the replicas that the peak was given. Needed: without redundancy. Expected: "
        f"of the promise that is furthest gone; {OVERLOAD}: more than was simulated, the queue may grow without end."
    )
    head = ("option", "what happens", "promises", "left", "needed", "expected", "promised")
    return Table(title="What happens when", head=head, rows=tuple(rows), notes=(note, *_why_unknown(report)))


def tornado(report: CapacityReport) -> Table:
    """Replicas with one input moved at a time."""
    rows = [
        (one.name, swing.what, *_ends(one, swing), marked(one, running_now(one))) for one in report.sized for swing in one.tornado
    ]
    head = ("option", "input", "low", "replicas", "high", "replicas", "as planned")
    return Table(
        title="What the number hangs on",
        head=head,
        rows=tuple(rows),
        notes=("Replicas at the peak, redundancy included, with one input moved and all else as planned; the widest first.",),
    )


def the_day(report: CapacityReport) -> Table:
    """Mean rate and replicas that are ready, hour by hour."""
    options = report.sized
    per_minute = np.asarray(report.plan.demand.per_minute)
    rows = []
    for hour in range(HOURS) if options else ():
        minutes = slice(hour * MINUTES_PER_HOUR, (hour + 1) * MINUTES_PER_HOUR)
        rate = float(per_minute[minutes].mean())
        rows.append((f"{hour:02d}:00", f"{figure(rate)} requests/s", *(_ready(one, minutes) for one in options)))
    head = ("hour", "requests", *(f"replicas of {one.name}" for one in options))
    return Table(
        title="Replicas through the day", head=head, rows=tuple(rows), notes=("Requests: mean over the hour, without bursts.",)
    )


def backtests(report: CapacityReport) -> Table:
    """Each measured rate, predicted from the others."""
    rows = [
        (name, *_backtest(test))
        for one in report.plan.options
        if (replica := report.measured.get(name := one.name)) is not None
        for test in replica.backtests
    ]
    head = ("option", "rate", "n", "predicted from", "measured p95", "predicted p95", "error")
    note = (
        "One replica as it was measured. Each rate of the newest run was left out, its latency p95 predicted from its other "
        "rates, and where there are older runs from those alone, and compared."
    )
    return Table(title="Back-test", head=head, rows=tuple(rows), notes=(note,))


def by_load(report: CapacityReport, *, at_peak_only: bool = False) -> Table:
    """Simulated latency p95 and mean wait of one replica by the rate it gets, beside what formulas say of the wait."""
    rows = []
    for one in report.sized:
        surface = one.surface
        if surface is None:
            continue
        nearest = min(range(len(surface.rates)), key=lambda place: abs(surface.rates[place] - at_peak(report.plan, one)))
        for place in [nearest] if at_peak_only else range(len(surface.rates)):
            rows.append((one.name, *_load(report, one, surface, place)))
    head = ("option", "rate each", "busy", "latency p95", "2.5 %", "97.5 %", "mean wait", "Allen-Cunneen", "Erlang C")
    which = "The simulated rate nearest to the busiest minute's. " if at_peak_only else ""
    note = (
        f"{which}Simulated: one replica behind the plan's router, at the plan's lengths of requests, p95 with the ends of its "
        "interval. Formulas: the mean wait of one replica by itself, arrivals at random. Random routing should be near "
        "Allen-Cunneen, which knows how service times vary; a router that looks at the load stays below. Erlang C takes service "
        "times for exponential; of a replica that shares itself among its requests, it is the exact mean cost of sharing."
    )
    return Table(title="Simulation and closed forms", head=head, rows=tuple(rows), notes=(note,))


def records(report: CapacityReport) -> Table:
    """The records behind each option: origin, digest and workload; and what else is known of how they were read."""
    rows, notes = [], []
    for one in report.plan.options:
        replica = report.measured.get(one.name)
        if replica is None:
            continue
        rows += [(one.name, replica.machine_class, *_source(source)) for source in replica.sources]
        notes += [f"{one.name}: {name}: {why}" for name, why in replica.reasons.items()]
    title = f"Records ({report.runs} stored run{'s' if report.runs != 1 else ''} read)"
    return Table(
        title=title, head=("option", "machine class", "workload", "digest", "stored run"), rows=tuple(rows), notes=tuple(notes)
    )


def running_now(one: Sized) -> str:
    """The replicas of the busiest minute."""
    return UNKNOWN if one.fleet is None else f"{one.fleet.peak:,}"


def _outlook(plan: Plan, one: Sized, outlook: Outlook) -> tuple[str, ...]:
    held = {True: "kept", False: "broken", None: "not known"}[outlook.holds]
    mark = DAGGER if _strained(plan, one, outlook) else ""
    needed = UNKNOWN if outlook.needed is None else f"{outlook.needed:,}{mark}"
    expected, promised = UNKNOWN, UNKNOWN
    if outlook.worst is not None:
        limit, value, wanted = outlook.worst
        named = f"{limit} " if len(plan.request.slo.limits) > 1 else ""
        expected, promised = f"{named}{seconds(value)}{mark}", pretty(wanted, "s")
    return (
        one.name,
        outlook.what,
        held + (mark if outlook.holds is not None else ""),
        f"{outlook.left:,}",
        needed,
        expected,
        promised,
    )


def _strained(plan: Plan, one: Sized, outlook: Outlook) -> bool:
    """Whether an event takes replicas beyond what was measured: its rate does, or traffic or prompts are doubled."""
    del plan
    return bool(one.extrapolates) or outlook.extrapolates


def _why_unknown(report: CapacityReport) -> Iterator[str]:
    for one in report.sized:
        yield from (f"{one.name}, {outlook.what}: {outlook.reason}" for outlook in one.outlooks if outlook.reason)


def _ends(one: Sized, swing: Swing) -> Iterator[str]:
    for factor, count in ((swing.low, swing.replicas_low), (swing.high, swing.replicas_high)):
        yield factor
        yield "cannot be kept" if count is None else marked(one, f"{count:,}")


def _ready(one: Sized, minutes: slice) -> str:
    if one.fleet is None:
        return UNKNOWN
    ready = one.fleet.ready[minutes]
    low, high = min(ready), max(ready)
    return marked(one, f"{high:,}" if low == high else f"{low:,} to {high:,}")


def _backtest(test: BackTest) -> tuple[str, ...]:
    times = (pretty(value, "s") for value in (test.measured_p95_s, test.predicted_p95_s))
    return f"{figure(test.rate)} requests/s", f"{test.requests:,}", test.source, *times, pretty_change(1 + test.error)


def _source(text: str) -> tuple[str, str, str]:
    """(workload, digest, origin) of 'origin digest (workload)'."""
    origin, digest, workload = ([""] * 3 + text.rsplit(" ", 2))[-3:]
    return workload.strip("()"), digest, origin


def _load(report: CapacityReport, one: Sized, surface: Surface, place: int) -> Iterator[str]:
    replica = report.measured.get(one.name)
    beyond = replica is None or not replica.rates or surface.rates[place] > replica.rates[-1]
    yield f"{figure(surface.rates[place])} requests/s{DAGGER if beyond else ''}"
    yield percent(surface.utilization[place])
    yield from (pretty(table[P95][place], "s") for table in (surface.latency_s, surface.latency_low_s, surface.latency_high_s))
    for name in ("simulated", "allen_cunneen", "erlang_c"):
        yield pretty(surface.closed_form[name][place], "s") if name in surface.closed_form else UNKNOWN
