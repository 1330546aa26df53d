"""The table of options: one column each, one line per figure, a dash with its reason for what is not known."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from lmbench.base.units import UNKNOWN, pretty
from lmbench.capacity.nouns import OLDER_RUNS, OTHER_RATES
from lmbench.capacity.plan import Plan, Sized, backtest_errors
from lmbench.report.capacity import CapacityReport, Front
from lmbench.report.capacity_figures import (
    KWH,
    amount,
    at_the_peak,
    estimate,
    figure,
    marked,
    money,
    percent,
    running,
    shares,
)
from lmbench.report.tables import Table

NO_PRICE, NO_POWER = "no price_per_hour in the plan file", "no idle_w and busy_w in the plan file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one option: `touched` by extrapolation where the option extrapolates; unknown with a reason."""

    text: str = UNKNOWN
    reason: str = ""
    touched: bool = True


Line = tuple[str, Callable[[Sized], Cell]]


def option_table(report: CapacityReport) -> Table | None:
    """Every option that could be sized, the recommended first; None without any. Notes say why a figure is missing."""
    options = report.sized
    if not options:
        return None
    rows, missing = [], dict[tuple[str, str], list[str]]()
    for title, cell_of in _lines(report):
        cells = [cell_of(one) for one in options]
        texts = (marked(one, cell.text) if cell.touched else cell.text for one, cell in zip(options, cells, strict=True))
        rows.append((title, *texts))
        for one, cell in zip(options, cells, strict=True):
            if cell.reason:
                missing.setdefault((one.name, cell.reason), []).append(title)
    front = (f"Pareto front: of {', '.join(report.front.axes)}.",) if len(options) > 1 else ()
    alike = dict[tuple[str, str], list[str]]()
    for (name, reason), titles in missing.items():
        alike.setdefault((", ".join(titles), reason), []).append(name)
    notes = (f"{titles}: {reason} ({', '.join(names)})" for (titles, reason), names in alike.items())
    return Table(title="Options", head=("", *(one.name for one in options)), rows=tuple(rows), notes=(*front, *notes))


def _lines(report: CapacityReport) -> Iterator[Line]:
    plan, request = report.plan, report.plan.request
    yield "keeps every promise", lambda one: Cell(text="yes" if one.meets else "no")
    front = report.front
    if len(front.beaten) > 1:
        yield "Pareto front", partial(_front, front)
    yield from _size()
    for (kind, quantile), limit in request.slo.limits.items():
        yield f"{kind} {quantile} <= {pretty(limit, 's')}", partial(_latency, plan, kind, quantile)
    for name, limit in request.slo.steady.items():
        yield f"{name.replace('_', ' ')} <= {amount(name, limit)}", partial(_check, name)
    floor = request.slo.perplexity_ratio
    yield f"perplexity{f' <= {floor:.4g}x' if floor is not None else ''}", _quality
    yield from _costs()
    yield from _machine(lengths_given=bool(request.traffic.classes))
    yield from _evidence(report)


def _size() -> Iterator[Line]:
    yield "replicas", lambda one: Cell(text=running(one))
    yield "needed at the peak", _needed
    yield "attainment", _attainment
    yield "utilization, peak", lambda one: _known(percent(one.day.utilization_peak, 0) if one.day else None)
    yield "utilization, mean", lambda one: _known(percent(one.day.utilization_mean, 0) if one.day else None)
    yield "headroom at the peak", _headroom
    yield "binds", lambda one: _known(one.top.binds if one.top else None)


def _costs() -> Iterator[Line]:
    yield "cost per hour", lambda one: _priced(one, one.cost_per_hour)
    yield "cost per 1M tokens", lambda one: _priced(one, one.cost_per_million_tokens)
    yield "power, mean", lambda one: Cell(reason=NO_POWER) if one.power_w is None else Cell(text=pretty(one.power_w, "W"))
    yield "energy per day", lambda one: _energy(one, lambda joules: f"{figure(joules / KWH)} kWh")
    yield "energy per 1M tokens", _energy_per_token


def _machine(*, lengths_given: bool) -> Iterator[Line]:
    """Memory hangs on lengths, not on rates, so only lengths that are not the measured ones touch it."""
    yield "memory needed", partial(_memory, touched=lengths_given)
    yield "memory there", _machine_memory
    yield "tokens in flight", _tokens
    yield "cold start", lambda one: _measured(one, "cold_start_s", "s")


def _evidence(report: CapacityReport) -> Iterator[Line]:
    def rate(one: Sized) -> Cell:
        found = report.measured.get(one.name)
        rates = found.rates if found else ()
        return Cell(text=f"{figure(rates[-1])} requests/s", touched=False) if rates else Cell(reason="no rate below the knee")

    def requests(one: Sized) -> Cell:
        found = report.measured.get(one.name)
        return Cell(text=f"n = {sum(map(len, found.service_s)):,}" if found else UNKNOWN, touched=False)

    def runs(one: Sized) -> Cell:
        found = report.measured.get(one.name)
        return Cell(text=f"{len(found.service_s)}" if found else UNKNOWN, touched=False)

    yield "measured up to", rate
    yield "runs in the interval", runs
    yield "requests measured", requests
    yield "back-test of p95", _backtest
    yield "broke first", _bottleneck
    yield "shard", _shard


def _front(front: Front, one: Sized) -> Cell:
    beaten = front.beaten.get(one.name)
    return Cell(text="on it" if beaten is None else f"beaten by {beaten}")


def _needed(one: Sized) -> Cell:
    if one.needed is None:
        return Cell()
    ends = one.needed_range
    return Cell(text=f"{one.needed:,}" + (f" ({ends[0]:,}..{ends[1]:,})" if ends and ends[0] != ends[1] else ""))


def _attainment(one: Sized) -> Cell:
    if one.day is None or one.day.attainment is None:
        return Cell(reason="not simulated")
    return Cell(text=shares(one.day.attainment, one.day.attainment_interval))


def _headroom(one: Sized) -> Cell:
    if one.day is None or one.day.headroom is None:
        return Cell(reason="even an idle replica is slower than promised")
    return Cell(text=f"+{percent(one.day.headroom, 0)}" if one.day.headroom >= 0 else percent(one.day.headroom, 0))


def _latency(plan: Plan, kind: str, quantile: str, one: Sized) -> Cell:
    return Cell(text=at_the_peak(plan, one, kind, quantile))


def _check(name: str, one: Sized) -> Cell:
    """What more replicas cannot change; at rates that were not measured it may be something else all the same."""
    (check,) = (check for check in one.checks if check.name == name)
    return Cell(text=estimate(check), reason="" if check.found else check.reason)


def _quality(one: Sized) -> Cell:
    ratio = None if one.replica is None else one.replica.perplexity_ratio
    if ratio is None:
        return Cell(reason=_reason(one, "perplexity_ratio"))
    return Cell(text=f"{ratio:.4f}x", touched=False)


def _priced(one: Sized, value: float | None) -> Cell:
    if value is not None:
        return Cell(text=money(value))
    return Cell(reason=NO_PRICE if one.option.price_per_hour is None else "the tokens of an answer were not measured")


def _energy(one: Sized, said: Callable[[float], str]) -> Cell:
    joules = None if one.day is None else one.day.energy_j
    return Cell(reason=NO_POWER) if joules is None else Cell(text=said(joules))


def _energy_per_token(one: Sized) -> Cell:
    if one.joules_per_million_tokens is not None:
        return Cell(text=f"{figure(one.joules_per_million_tokens / KWH)} kWh")
    return Cell(reason=NO_POWER if one.day is None or one.day.energy_j is None else "the tokens of an answer were not measured")


def _memory(one: Sized, *, touched: bool) -> Cell:
    if one.memory is None or one.memory.needed_bytes is None:
        return Cell(reason=one.memory.reason if one.memory else "not sized")
    text = pretty(one.memory.needed_bytes, "bytes") + {True: ", fits", False: ", too much", None: ""}[one.memory.fits]
    return Cell(text=text, reason=one.memory.reason, touched=touched)


def _machine_memory(one: Sized) -> Cell:
    if one.memory is None or one.memory.machine_bytes is None:
        return Cell(reason="neither memory_gib in the plan file nor the memory of the measured machine is known")
    return Cell(text=pretty(one.memory.machine_bytes, "bytes"), touched=False)


def _bottleneck(one: Sized) -> Cell:
    found = one.replica.bottleneck if one.replica else ""
    return Cell(text=found, touched=False) if found else Cell(reason="the stress run found nothing that broke")


def _tokens(one: Sized) -> Cell:
    if one.memory is None or one.memory.tokens_in_flight is None:
        return Cell(reason=_reason(one, "state_bytes_per_token"))
    return Cell(text=f"{one.memory.tokens_in_flight:,}", touched=False)


def _measured(one: Sized, name: str, unit: str) -> Cell:
    value = None if one.replica is None else getattr(one.replica, name)
    return Cell(reason=_reason(one, name)) if value is None else Cell(text=pretty(value, unit), touched=False)


def _backtest(one: Sized) -> Cell:
    errors = {source: backtest_errors(one.replica, source) for source in (OTHER_RATES, OLDER_RUNS)} if one.replica else {}
    said = [
        f"{percent(statistics.median(found))}, {percent(max(found))} (n = {len(found)})"
        f"{' from older runs' if source == OLDER_RUNS else ''}"
        for source, found in errors.items()
        if found
    ]
    if not said:
        return Cell(reason="fewer than three rates below the knee were measured")
    return Cell(text="; ".join(said), touched=False)


def _shard(one: Sized) -> Cell:
    if one.surface is None:
        return Cell()
    shard, error = one.surface.shard, one.surface.shard_error
    return Cell(text=f"{shard} (half: {percent(error)})" if error else f"{shard}", touched=False)


def _known(text: str | None) -> Cell:
    return Cell(text=text or UNKNOWN)


def _reason(one: Sized, name: str) -> str:
    return (one.replica.reasons.get(name) if one.replica else None) or "not measured"
