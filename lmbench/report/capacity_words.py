"""A plan in sentences: what to buy and how sure that is, what must be read first, and what was asked."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lmbench.base.units import pretty
from lmbench.capacity.nouns import OLDER_RUNS, OTHER_RATES, Check
from lmbench.capacity.plan import MEMORY_SHARE, Plan, Sized, backtest_error, backtest_errors
from lmbench.capacity.plan_file import Option, PlanRequest
from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_figures import DAGGER, amount, estimate, figure, marked, money, percent, running, shares

TITLE = "Capacity plan"
UNRELIABLE = "Do not buy by this yet:"
NONE = "No option keeps every promise: do not buy by this plan."
LEGEND = (
    f"{DAGGER}: goes beyond the rates or lengths that were measured (see the warnings).",
    "Intervals (a..b) hold 95 % of what chance, few measured requests and the differences between the runs that were used leave "
    "open; they say nothing of other machines, other text or later versions.",
    "Costs are in the currency of the plan file; prices and powers are the plan file's own. A replica is one machine. Tokens, in "
    "costs and energies, are those of answers.",
    "Attainment: the share of the day's requests that arrive in minutes in which every limit is kept. Headroom: how much more "
    "than in the busiest minute each replica could take.",
    "Pareto front: no other option is clearly better in one of its axes and no worse in the others. Perplexity is over that of "
    "the same model's fp32 parent: it does not compare models.",
    "Back-test: how far the predicted latency p95 was off at measured rates that were left out, median and worst of n rates. "
    "Shard: replicas that were simulated together, and how p95 differs with half as many.",
)


def title(report: CapacityReport) -> str:
    """'Capacity plan: chat'."""
    description = report.plan.request.description
    return f"{TITLE}: {description}" if description else TITLE


def heading(report: CapacityReport) -> str:
    """Which part of a mix of models it plans: 'gpt: 66.7 % of the requests, on replicas of its own'; empty for a whole plan."""
    return f"{report.model}: {percent(report.share)} of the requests, on replicas of its own" if report.model else ""


def described(option: Option) -> str:
    """'gpt-mini / torch / int8-dynamic', and the machine class where the plan file names one."""
    axes = f"{option.model} / {option.backend} / {option.compression}"
    return f"{axes} on {option.machine_class}" if option.machine_class else axes


def promises(request: PlanRequest) -> str:
    """'latency p95 <= 500 ms and perplexity <= 1.01x'."""
    limits = [f"{kind} {quantile} <= {pretty(limit, 's')}" for (kind, quantile), limit in request.slo.limits.items()]
    limits += [f"{name.replace('_', ' ')} <= {amount(name, limit)}" for name, limit in request.slo.steady.items()]
    floor = request.slo.perplexity_ratio
    return " and ".join(limits + ([f"perplexity <= {floor:.4g}x that of fp32"] if floor is not None else []))


def verdict(report: CapacityReport) -> list[str]:
    """What to buy, then what else would do, one sentence each; then why not the others."""
    kept = report.kept
    said = [_buy(report.plan, one, kept, place) for place, one in enumerate(kept)] or [NONE]
    return [
        *said,
        *(f"Not '{one.name}'{_would(one)}: {why_not(report.plan, one)}." for one in report.plan.options if not one.meets),
    ]


def why_not(plan: Plan, one: Sized) -> str:
    """Which promises an option breaks, or why it could not be sized."""
    if one.refused:
        return one.refused.removeprefix(f"option {one.name!r}: ").rstrip(".")
    found = []
    if one.quality_met is False and one.replica is not None:
        floor = plan.request.slo.perplexity_ratio
        found.append(f"its perplexity is {one.replica.perplexity_ratio:.4f}x that of fp32, promised is at most {floor:.4g}x")
    found += [_broken(check) for check in one.checks if not check.holds]
    memory = one.memory
    if memory is not None and memory.fits is False:
        needed, there = pretty(memory.needed_bytes, "bytes"), pretty(memory.machine_bytes, "bytes")
        found.append(f"it needs {needed} of memory, and of {there} at most {percent(MEMORY_SHARE, 0)} may be filled")
    return "; ".join(found) or "it does not keep every promise"


def _broken(check: Check) -> str:
    """Why a promise that no replica more can keep does not hold."""
    if check.found is None:
        return f"its {check.said} is not known ({check.reason})"
    return f"its {check.said} is {estimate(check)}, promised is at most {amount(check.name, check.limit)}"


def sureness(report: CapacityReport) -> list[str]:
    """How the recommended number of replicas comes about, and how far it might be off."""
    one = report.kept[0] if report.kept else None
    if one is None or one.needed is None or one.fleet is None or one.top is None:
        return []
    spare, ends = one.fleet.peak - one.needed, one.needed_range
    apart = ends is not None and ends[0] != ends[1]
    by = f" ({ends[0]:,} to {ends[1]:,} by the ends of the latencies' intervals)" if ends and apart else ""
    redundancy = f", {spare:,} more so that {_may_fail(report.plan.request)}" if spare > 0 else ""
    needed = marked(one, f"{one.needed:,}")
    return [f"The busiest minute needs {needed} of '{one.name}'{by}{redundancy}; what binds is {one.top.binds}."]


def warnings(report: CapacityReport) -> list[str]:
    """What must be read before any number, the plan's own first."""
    request, found = report.plan.request, list(report.plan.warnings)
    for one in report.sized:
        if request.slo.perplexity_ratio is not None and one.quality_met is None:
            found.append(f"{one.name}: its perplexity was not measured, so that promise is not checked")
        if one.memory is not None and one.memory.fits is None:
            found.append(
                f"{one.name}: whether it fits the machine's memory is not known: {one.memory.reason or 'no machine size'}"
            )
        if one.day is not None and (one.day.attainment or 0.0) < 1:
            kept = "none" if one.day.attainment is None else shares(one.day.attainment, one.day.attainment_interval)
            found.append(f"{one.name}: keeps its promises only in minutes with {kept} of the requests")
    return [*found, *(f"left out: {problem}" for problem in report.problems)]


def asked(plan: Plan) -> list[str]:
    """The traffic, the promises and the redundancy, as they were understood."""
    request = plan.request
    return [_traffic(plan), f"Promised: {promises(request)}.", _running(request)]


def _would(one: Sized) -> str:
    """What an option that breaks a promise would have taken."""
    if one.fleet is None:
        return ""
    cost = "" if one.cost_per_hour is None else f", {marked(one, money(one.cost_per_hour))} per hour"
    return f" ({marked(one, running(one))}{cost})"


def _buy(plan: Plan, one: Sized, kept: tuple[Sized, ...], place: int) -> str:
    held = promises(plan.request) if place == 0 else "them"
    parts = [f"keeps {held} {_when(one)}", _cost(one, kept, place), _predicted(one)]
    return f"{_verb(one, place)} {marked(one, running(one))} x '{one.name}' ({described(one.option)}): {', '.join(parts)}."


def _verb(one: Sized, place: int) -> str:
    """What to do with an option; one whose back-test failed is not recommended, however cheap."""
    if reliable(one) is False:
        return UNRELIABLE if place == 0 else "Or, not to be relied on,"
    fixed = one.fleet is not None and one.fleet.least == one.fleet.peak
    return ("Buy" if fixed else "Run") if place == 0 else "Or"


def _when(one: Sized) -> str:
    """In which minutes the promises are kept, by the share of the day's requests that arrive in them."""
    if one.day is None or one.day.attainment is None:
        return "in minutes that were not simulated"
    ends = one.day.attainment_interval
    if one.day.attainment == 1 and (ends is None or ends[0] == 1):
        return marked(one, "in every minute of the day")
    return f"in minutes with {marked(one, shares(one.day.attainment, ends))} of the requests"


def _cost(one: Sized, kept: tuple[Sized, ...], place: int) -> str:
    if one.cost_per_hour is None:
        return "cost not known (no price_per_hour)"
    said = f"costs {marked(one, money(one.cost_per_hour))} per hour"
    other = next((other for other in kept if other is not one and other.cost_per_hour), None)
    if other is None or not other.cost_per_hour:
        return said
    ratio = one.cost_per_hour / other.cost_per_hour
    if place > 0 or ratio > 1:
        return f"{said}, {ratio:.3g}x as much as '{other.name}'"
    return f"{said}, {percent(1 - ratio, 0)} less than '{other.name}'" if ratio < 1 else f"{said}, as much as '{other.name}'"


def _predicted(one: Sized) -> str:
    """How well p95 was predicted at rates that were left out."""
    if one.replica is None or backtest_error(one.replica) is None:
        return "p95 not back-tested"
    errors, across = (backtest_errors(one.replica, source) for source in (OTHER_RATES, OLDER_RUNS))
    said = []
    if errors:
        rates = f"{len(errors)} held-out rate{'s' if len(errors) > 1 else ''}"
        said.append(f"{_within(errors)} at {rates}")
    if across:
        runs = len(one.replica.service_s) - 1
        said.append(f"{_within(across)} from {runs} older run{'s' if runs > 1 else ''} alone")
    return f"p95 predicted {' and '.join(said)}"


def _within(errors: Sequence[float]) -> str:
    return f"within {percent(statistics.median(errors))} (worst {percent(max(errors))})"


def _may_fail(request: PlanRequest) -> str:
    spare, zones = request.redundancy.spare, request.redundancy.zones
    parts = [f"{spare:,} may be down"] if spare else []
    return " and ".join([*parts, *([f"any of {zones} zones may be lost"] if zones > 1 else [])])


def _traffic(plan: Plan) -> str:
    traffic, demand = plan.request.traffic, plan.demand
    grown = f" ({figure(traffic.requests_per_s)} x growth {traffic.growth:g})" if traffic.growth != 1 else ""
    shape = f"the shape of {traffic.trace}" if traffic.trace else "24 given factors"
    day = shape if traffic.trace or not isinstance(traffic.profile, str) else f"profile {traffic.profile}"
    burst = f" (burst {traffic.burst:g} included)" if traffic.burst > 1 else ""
    kinds = "; ".join(_kind(name, one.share, one.prompt_tokens, one.output_tokens) for name, one in traffic.classes.items())
    lengths = f" Requests: {kinds}." if kinds else " Requests are as long as the measured ones."
    return (
        f"Traffic: {figure(demand.mean)} requests/s on average{grown}, {day}, "
        f"{figure(demand.peak)} requests/s in the busiest minute{burst}.{lengths}"
    )


def _kind(name: str, weight: float, prompt: int | None, output: int | None) -> str:
    lengths = [f"{tokens} {what} tokens" for tokens, what in ((prompt, "prompt"), (output, "output")) if tokens is not None]
    return f"{name} (weight {weight:g}{''.join(f', {one}' for one in lengths)})"


def _running(request: PlanRequest) -> str:
    rule = request.autoscale
    scaled = (
        "as many replicas as the busiest minute needs, all day"
        if rule is None
        else f"replicas follow the traffic every {pretty(rule.every_s, 's')}, aimed at {rule.utilization:.0%} busy".replace(
            "%", " %"
        )
        + f", at least {rule.least:,}"
    )
    failing = _may_fail(request)
    return f"Run as: {scaled}; {request.routing} routing; {failing or 'nothing may fail'}."
