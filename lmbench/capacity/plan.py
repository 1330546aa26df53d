"""The plan: every option sized for the same day, ranked by cost, with what binds it and how sure it is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lmbench.base.errors import SubjectError
from lmbench.capacity.demand import Demand, mixed
from lmbench.capacity.nouns import OLDER_RUNS, OTHER_RATES, Check, Replica, Surface
from lmbench.capacity.plan_file import Option, PlanRequest
from lmbench.capacity.scenarios import Outlook, Swing, outlooks, tornado
from lmbench.capacity.sizing import (
    Ceiling,
    Day,
    Fleet,
    ceiling,
    day,
    fixed_fleet,
    quantile_at,
    replicas_for,
    scaled_fleet,
)
from lmbench.capacity.surface import simulated_surface

GIB = float(1 << 30)
HOURS_PER_DAY, SECONDS_PER_DAY = 24, 86400
BACKTEST_BOUND = 0.2
"""A median error of predicted p95 above this is said on the plan's first line."""
SHARD_BOUND = 0.2
"""A change of p95 from half a shard to a whole one above which the size of the shard is told."""
MEMORY_SHARE = 0.9
"""Of a machine's memory that a plan fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFit:
    """Bytes one replica needs with every slot at the plan's longest context, beside the machine's; and the most it could hold."""

    needed_bytes: float | None
    machine_bytes: float | None
    fits: bool | None
    tokens_in_flight: int | None
    """Context tokens of all slots together that fit."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """One option's part of a plan. Costs in the currency of the plan file; None where an input is not known."""

    name: str
    option: Option
    replica: Replica | None
    surface: Surface | None = None
    top: Ceiling | None = None
    needed: int | None = None
    """At the peak, without redundancy."""
    needed_range: tuple[int, int] | None = None
    """With the favourable and the unfavourable end of what is known of the latencies."""
    fleet: Fleet | None = None
    day: Day | None = None
    peak_latency_s: Mapping[str, float] = field(default_factory=dict)
    memory: MemoryFit | None = None
    cost_per_hour: float | None = None
    """Mean over the day."""
    cost_per_million_tokens: float | None = None
    joules_per_million_tokens: float | None = None
    quality_met: bool | None = None
    """None when no floor was asked for, or the quality is not known."""
    quality_asked: bool = False
    checks: tuple[Check, ...] = ()
    """Of the promises that no number of replicas can buy."""
    outlooks: tuple[Outlook, ...] = ()
    tornado: tuple[Swing, ...] = ()
    extrapolates: tuple[str, ...] = ()
    refused: str = ""
    """Why this option cannot be planned at all."""

    @property
    def meets(self) -> bool:
        """Whether every promise is known to be kept, in every minute of the day."""
        if self.refused or self.day is None or self._memory_short:
            return False
        good = self.quality_met is True or not self.quality_asked
        return self.day.attainment == 1 and good and all(check.holds for check in self.checks)

    @property
    def power_w(self) -> float | None:
        """Of all replicas, mean over the day; None where no powers were given."""
        return None if self.day is None or self.day.energy_j is None else self.day.energy_j / SECONDS_PER_DAY

    @property
    def reliable(self) -> bool:
        """Whether predictions were near what was measured and left out; True where nothing could be left out, which is told."""
        error = None if self.replica is None else backtest_error(self.replica)
        return error is None or error <= BACKTEST_BOUND

    @property
    def _memory_short(self) -> bool:
        return self.memory is not None and self.memory.fits is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All options, the recommended first: those that keep every promise by cost, then replicas; then the others."""

    request: PlanRequest
    demand: Demand
    options: tuple[Sized, ...]
    warnings: tuple[str, ...] = ()
    """What must be read before any number."""


def plan(
    request: PlanRequest,
    demand: Demand,
    replicas: Mapping[str, Replica | str],
    *,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Size every option of `request`; `replicas` holds what records tell of each, or why they tell nothing."""
    sized = []
    for name, option in request.options.items():
        tell(f"simulating {name}")
        sized.append(_sized(name, option, replicas[name], request, demand, seed))
    ranked = sorted(sized, key=_rank)
    return Plan(request=request, demand=demand, options=tuple(ranked), warnings=tuple(_warnings(ranked)))


def backtest_errors(replica: Replica, source: str) -> list[float]:
    """Absolute relative errors of p95 below the knee, predicted from this source: OTHER_RATES or OLDER_RUNS."""
    return [abs(test.error) for test in replica.backtests if test.below_knee and test.source == source]


def backtest_error(replica: Replica) -> float | None:
    """Their median; of both sources the larger one; None without any."""
    found = (backtest_errors(replica, source) for source in (OTHER_RATES, OLDER_RUNS))
    return max((statistics.median(errors) for errors in found if errors), default=None)


def _rank(one: Sized) -> tuple[int, int, float, float, str]:
    cost = one.cost_per_hour if one.cost_per_hour is not None else float("inf")
    size = one.fleet.hours if one.fleet else float("inf")
    return (0 if one.meets else 1, 0 if one.reliable else 1, cost, size, one.name)


def _sized(name: str, option: Option, known: Replica | str, request: PlanRequest, demand: Demand, seed: int) -> Sized:
    if isinstance(known, str):
        return Sized(name=name, option=option, replica=None, refused=known)
    try:
        mixture = mixed(known, request.traffic.classes, limit=request.extrapolate, seed=seed)
        surface = simulated_surface(mixture.replica, request.routing, peak=demand.peak, seed=seed)
    except SubjectError as error:
        return Sized(name=name, option=option, replica=known, refused=str(error))
    replica, limits = mixture.replica, request.slo.limits
    absent = [kind for kind, _ in limits if kind == "ttft" and not surface.ttft_s]
    if absent:
        return Sized(name=name, option=option, replica=replica, refused="its records have no time to first token")
    top = ceiling(surface, replica, limits, extrapolate=request.extrapolate)
    base = Sized(
        name=name,
        option=option,
        replica=replica,
        surface=surface,
        top=top,
        quality_met=quality_met(request, replica),
        quality_asked=request.slo.perplexity_ratio is not None,
        checks=checks(request, replica),
    )
    if top.rate is None or top.low is None:
        limit = f"{top.binds}: even an idle replica is slower than promised"
        return replace(base, refused=limit)
    return with_fleet(base, request, demand, mixture.beyond, top.rate)


def with_fleet(base: Sized, request: PlanRequest, demand: Demand, beyond: tuple[str, ...], each: float) -> Sized:
    """An option that has a surface and a ceiling, with the replicas that take at most `each` requests/s and all that follows.

    `beyond` says which lengths of requests were not measured.
    """
    surface, replica, top, option = base.surface, base.replica, base.top, base.option
    assert surface is not None and replica is not None and top is not None  # noqa: S101 - made so by _sized
    limits, rule = request.slo.limits, request.autoscale
    fleet = (
        fixed_fleet(demand, each, request.redundancy)
        if rule is None
        else scaled_fleet(demand, replica, each, request.redundancy, rule)
    )
    power = None if option.idle_w is None or option.busy_w is None else (option.idle_w, option.busy_w)
    one = day(surface, replica, demand, fleet, limits, power)
    tokens = demand.mean * SECONDS_PER_DAY * (replica.output_tokens or 0.0)
    cost = None if option.price_per_hour is None else option.price_per_hour * fleet.hours / HOURS_PER_DAY
    at_peak = max(rate * demand.burst / ready for rate, ready in zip(demand.per_minute, fleet.ready, strict=True))
    flags = list(beyond)
    if top.extrapolates or (replica.rates and at_peak > replica.rates[-1]):
        measured = f"{replica.rates[-1]:.4g}" if replica.rates else "none"
        flags.append(f"{each:.4g} requests/s per replica, measured up to {measured}")
    return replace(
        base,
        needed=replicas_for(demand.peak, each),
        needed_range=(replicas_for(demand.peak, top.high or each), replicas_for(demand.peak, top.low or each)),
        fleet=fleet,
        day=one,
        peak_latency_s={f"{kind} {quantile}": quantile_at(surface, kind, quantile, at_peak) for kind, quantile in limits},
        memory=memory_fit(replica, option),
        cost_per_hour=cost,
        cost_per_million_tokens=None if cost is None or not tokens else cost * HOURS_PER_DAY / (tokens / 1e6),
        joules_per_million_tokens=None if one.energy_j is None or not tokens else one.energy_j / (tokens / 1e6),
        outlooks=tuple(outlooks(request, surface, replica, demand, fleet)),
        tornado=tuple(tornado(request, surface, replica, demand)),
        extrapolates=tuple(flags),
    )


def memory_fit(replica: Replica, option: Option) -> MemoryFit:
    """Weights, what else the process holds, and the state of every slot at the mean context, against the machine's memory."""
    machine = option.memory_gib * GIB if option.memory_gib is not None else replica.memory_bytes
    if replica.peak_rss_bytes is None and replica.weights_bytes is None:
        return MemoryFit(
            needed_bytes=None, machine_bytes=machine, fits=None, tokens_in_flight=None, reason="no record tells its memory"
        )
    fixed = replica.peak_rss_bytes or replica.weights_bytes or 0.0
    per_token = replica.state_bytes_per_token
    context = (replica.prompt_tokens or 0.0) + (replica.output_tokens or 0.0)
    needed = fixed + (per_token or 0.0) * context * replica.slots
    room = None if machine is None else MEMORY_SHARE * machine - fixed
    return MemoryFit(
        needed_bytes=needed,
        machine_bytes=machine,
        fits=None if machine is None else needed <= MEMORY_SHARE * machine,
        tokens_in_flight=None if room is None or not per_token else max(0, int(room / per_token)),
        reason="" if per_token is not None else "the state per token was not measured and is left out",
    )


def quality_met(request: PlanRequest, replica: Replica) -> bool | None:
    """Whether the perplexity is as promised; None where none was, or it is not known."""
    floor = request.slo.perplexity_ratio
    if floor is None or replica.perplexity_ratio is None:
        return None
    return replica.perplexity_ratio <= floor


def checks(request: PlanRequest, replica: Replica) -> tuple[Check, ...]:
    """Each promise that no number of replicas can buy beside what the records tell of it."""
    return tuple(
        Check(name=name, limit=limit, found=replica.steady.get(name), reason=replica.reasons.get(name, "not measured"))
        for name, limit in request.slo.steady.items()
    )


def _warnings(options: list[Sized]) -> list[str]:
    """What is off, then what is not known, then what was not measured."""
    off = [text for one in options for text in _off(one)]
    unknown = [f"{one.name}: {text}" for one in options for text in (*_unmeasured(one), *_unsure(one))]
    beyond = [f"{one.name}: extrapolates: {'; '.join(one.extrapolates)}" for one in options if one.extrapolates]
    return [*off, *unknown, *beyond]


def _off(one: Sized) -> Iterator[str]:
    yield from (f"{one.name}: {text}" for text in (() if one.replica is None else one.replica.failing))
    error = None if one.replica is None else backtest_error(one.replica)
    if error is not None and not one.reliable:
        share = f"{error * 100:.0f} %"
        yield f"{one.name}: predicted p95 is off by {share} at measured rates left out: do not buy by its numbers"


def _unmeasured(one: Sized) -> Iterator[str]:
    """What no record tells of an option, where the plan hangs on it."""
    if one.fleet is not None and one.fleet.least < one.fleet.peak and one.replica and one.replica.cold_start_s is None:
        yield "its cold start was not measured, and autoscaling is planned as if it took no time"
    if one.quality_asked and one.quality_met is None and not one.refused:
        yield "its perplexity against fp32 was not measured, so its quality is not known"
    for check in one.checks:
        if check.found is None:
            yield f"its {check.said} is not known, so that promise does not count as kept: {check.reason}"


def _unsure(one: Sized) -> Iterator[str]:
    """What makes an option's numbers less sure than their intervals say."""
    if one.replica is not None and backtest_error(one.replica) is None:
        yield "no back-test, since fewer than three rates below the knee were measured"
    if one.replica is not None and one.replica.late_client_s is not None:
        late = f"{one.replica.late_client_s * 1e3:.3g} ms"
        yield f"requests were sent up to {late} late (p99), which is in its latencies: leave the client a CPU and measure again"
    if one.fleet is not None and one.replica is not None and len(one.replica.service_s) == 1:
        yield "one run: its interval does not hold what differs between runs"
    if one.surface is not None and (one.surface.shard_error or 0) > SHARD_BOUND:
        yield f"simulated in shards of {one.surface.shard} replicas, which makes latencies look longer"
