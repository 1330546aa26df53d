"""The plans of several models together: the cheapest assignment in one sentence, and every option summed over the models."""

from __future__ import annotations

from collections.abc import Sequence

from lmbench.base.units import UNKNOWN, pretty
from lmbench.capacity.mix import Total, cheapest, totals
from lmbench.capacity.plan import Plan
from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_figures import DAGGER, marked, money, running
from lmbench.report.capacity_words import UNRELIABLE
from lmbench.report.tables import Table

TITLE = "All models together"
CHEAPEST = "best of each"
DEDICATED = "Every model has replicas of its own: none is shared, so that a quiet model's replicas do not help a busy one."
NOT_KNOWN = "A dash: of some model it is not known, since it could not be sized or no price or powers are in the plan file."


def by_model(reports: Sequence[CapacityReport]) -> dict[str, Plan]:
    """The plan of each model; empty for a plan whose options name their models."""
    return {one.model: one.plan for one in reports if one.model}


def together(reports: Sequence[CapacityReport]) -> str:
    """What to buy for all models."""
    best = cheapest(by_model(reports))
    if not best.keeps:
        return f"No option keeps every promise for {' and '.join(best.broken)}: do not buy by this plan."
    chosen = [one.kept[0] for one in reports]
    parts = [
        f"{marked(one, running(one))} x '{one.name}' for {report.model}" for report, one in zip(reports, chosen, strict=True)
    ]
    sure = all(reliable(one) is not False for one in chosen)
    cost = "cost not known" if best.cost_per_hour is None else f"costs {_marked(best, money(best.cost_per_hour))} per hour"
    return f"{'Buy' if sure else UNRELIABLE} {', '.join(parts)}: every promise is kept for every model, {cost} together."


def total_table(reports: Sequence[CapacityReport]) -> Table:
    """Each option for all models, then the best option of each."""
    plans = by_model(reports)
    best = cheapest(plans)
    first = next(iter(plans.values()))
    rows = [_row(name, one) for name, one in zip(first.request.options, totals(plans), strict=True)]
    head = ("option", "replicas at the peak", "cost per hour", "power, mean", "keeps every promise")
    chosen = ", ".join(f"'{option}' for {model}" for model, option in best.options.items()) or "none"
    notes = (DEDICATED, f"{CHEAPEST[0].upper()}{CHEAPEST[1:]}: {chosen}.")
    unknown = any(UNKNOWN in row for row in rows)
    return Table(title=TITLE, head=head, rows=(*rows, _row(CHEAPEST, best)), notes=(*notes, *([NOT_KNOWN] if unknown else [])))


def _row(name: str, one: Total) -> tuple[str, ...]:
    return (
        name,
        UNKNOWN if one.replicas is None else _marked(one, f"{one.replicas:,}"),
        UNKNOWN if one.cost_per_hour is None else _marked(one, money(one.cost_per_hour)),
        UNKNOWN if one.power_w is None else _marked(one, pretty(one.power_w, "W")),
        "yes" if one.keeps else f"no: {', '.join(one.broken)}",
    )


def _marked(one: Total, text: str) -> str:
    return text + DAGGER if one.extrapolates else text
