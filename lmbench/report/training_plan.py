"""A training plan in words and as one table: the answer and how sure it is, then every option."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lmbench.base.units import UNKNOWN, pretty
from lmbench.capacity.training import HOUR_S, PlannedOption, TrainingPlan, TrainingPlans
from lmbench.report.capacity_figures import KWH, figure, money, percent
from lmbench.report.tables import Table

TITLE = "Training plan"
HEAD = ("option", "machines", "tokens/s", "time", "machine-hours", "energy", "cost", "FLOPs", "MFU")
SPANS = ((HOUR_S, "h"), (60.0, "min"), (0.0, "s"))
"""Seconds from which on a unit is used."""
INTERVAL = (
    "Times with their 95 % interval, by the spread of the measured steps alone: it holds neither what differs between runs nor "
    "how machines scale."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """Everything a rendering needs."""

    plans: TrainingPlans
    source: str
    """The plan file as it was named."""
    runs: int
    """Stored runs that were read."""
    problems: tuple[str, ...] = ()
    """Stored files that were left out, and why."""

    @property
    def title(self) -> str:
        description = self.plans.request.description
        return f"{TITLE}: {description}" if description else TITLE


def answer(plans: TrainingPlans) -> list[str]:
    """What to take and how sure that is; then why not the options that are late or not known."""
    known = [one for one in plans.kept if one.plan is not None]
    if known:
        fastest = min(known, key=lambda one: _plan(one).time_s)
        priced = all(_plan(one).cost is not None for one in known)
        lead = _lead(plans, fastest, known[0] if priced else None)
        said = [f"{lead}; {_sure(fastest, [one for one in known if one is not fastest])}."]
    else:
        said = [_none(plans)]
    return said + [f"Not '{one.name}': {_why_not(one, plans)}." for one in plans.options if one not in plans.kept]


def training_table(plans: TrainingPlans) -> Table:
    """Every option that is known; the notes hold what was assumed and where the numbers come from."""
    planned = [(one.name, one.plan) for one in plans.options if one.plan is not None]
    title = f"{figure(plans.request.tokens)} tokens"
    rows = tuple((name, *_cells(plan)) for name, plan in planned)
    return Table(title=title, head=HEAD, rows=rows, notes=tuple(_notes(planned)))


def span(seconds: float, interval: tuple[float, float]) -> str:
    """'1.52 h (1.50..1.55 h)', all in one unit."""
    size, unit = next(entry for entry in SPANS if seconds >= entry[0])
    amounts = (one / (size or 1.0) for one in (interval[0], seconds, interval[1]))
    low, value, high = (f"{one:.3g}" if one < 1000 else f"{one:,.0f}" for one in amounts)
    return f"{value} {unit} ({low}..{high} {unit})"


def _cells(plan: TrainingPlan) -> Iterator[str]:
    yield f"{plan.machines:,}" + (f" at {plan.efficiency:.0%}".replace("%", " %") if plan.machines > 1 else "")
    yield figure(plan.tokens_per_s)
    yield span(plan.time_s, plan.time_interval_s)
    yield figure(plan.machine_hours)
    yield UNKNOWN if plan.energy_j is None else f"{figure(plan.energy_j / KWH)} kWh"
    yield UNKNOWN if plan.cost is None else money(plan.cost)
    yield pretty(plan.flops, "FLOP")
    yield UNKNOWN if plan.mfu is None else percent(plan.mfu)


def _notes(planned: list[tuple[str, TrainingPlan]]) -> Iterator[str]:
    """Those of all options once, those of some with their names."""
    yield INTERVAL
    yield from (f"Warning: {name}: {text}" for name, plan in planned for text in plan.warnings)
    by_text: dict[str, list[str]] = {}
    for name, plan in planned:
        for text in plan.notes:
            by_text.setdefault(text, []).append(name)
    for text, names in by_text.items():
        yield f"{text[:1].upper()}{text[1:]}." if len(names) == len(planned) else f"{', '.join(names)}: {text}."
    for name, plan in planned:
        at = plan.measured_at[:16].replace("T", " ")
        yield f"{name}: from {plan.steps} steps of {plan.node_id} on {plan.machine_class}, measured {at} UTC."


def _lead(plans: TrainingPlans, fastest: PlannedOption, cheapest: PlannedOption | None) -> str:
    limit = plans.request.deadline_h
    within = "" if limit is None else f" within the deadline of {limit:g} h"
    if cheapest is fastest:
        return f"Cheapest and fastest{within}: {_told(fastest)}"
    if cheapest is None:
        return f"Fastest{within}: {_told(fastest)}"
    return f"Cheapest{within}: {_told(cheapest)}; fastest: {_told(fastest)}"


def _told(one: PlannedOption) -> str:
    plan = _plan(one)
    cost = "cost not known (no price_per_hour)" if plan.cost is None else f"costs {money(plan.cost)}"
    return f"'{one.name}', {span(plan.time_s, plan.time_interval_s)}, {cost}"


def _sure(fastest: PlannedOption, others: list[PlannedOption]) -> str:
    """Whether the fastest can be told from the next, and what was only given."""
    mine = _plan(fastest)
    alike = [one.name for one in others if _plan(one).time_interval_s[0] <= mine.time_interval_s[1]]
    said = [f"by its intervals not clearly faster than {_named(alike)}"] if alike else []
    if not alike and others:
        said.append("intervals of times do not overlap")
    given = [one.name for one in (fastest, *others) if _plan(one).machines > 1]
    if given:
        said.append(f"how {_named(given)} scale{'s' if len(given) == 1 else ''} was given, not measured")
    said += ["its record holds warnings, see below"] if mine.warnings else []
    return ", ".join([*said, "each known from the steps of one run"])


def _none(plans: TrainingPlans) -> str:
    known = [one for one in plans.options if one.plan is not None]
    if not known:
        return "No option can be planned: no stored record tells of any."
    limit = plans.request.deadline_h
    return f"No option meets the deadline of {limit:g} h. The fastest is {_told(known[0])}."


def _why_not(one: PlannedOption, plans: TrainingPlans) -> str:
    if one.plan is None:
        return one.refused.rstrip(".")
    limit = (plans.request.deadline_h or 0.0) * HOUR_S
    late = "only by the unfavourable end of its interval it is late" if one.plan.time_s <= limit else "it is late"
    return f"{late}, {span(one.plan.time_s, one.plan.time_interval_s)}"


def _plan(one: PlannedOption) -> TrainingPlan:
    assert one.plan is not None  # noqa: S101 - chosen so
    return one.plan


def _named(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
