"""What a stress case is held to: its SLO and the first rate of its ramp, from the suite, a stored run or this run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lmbench.load.ramp import Ramp
from lmbench.load.search import Search
from lmbench.load.shapes import Shape
from lmbench.measure.objectives import SUITE, Objective, Pin, chosen
from lmbench.suite.params import Slo, StressParams

START_SHARE = 0.25
"""The ramp begins at this share of what one request after the other would allow."""
SLO_FACTOR = 5.0
"""Default objective: a request may take this many times its unloaded median."""
LATENCY, START = "slo.latency_s", "start_rate"
OF_ANY_LOAD = ("goodput_requests_per_s", "slo_attainment")
"""What depends on the SLO where no limit is looked for."""
UNLOADED = ("first_call_s",)
"""What was measured before the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """The SLO, the first rate in requests/s, and where every number of them came from."""

    slo: Slo
    start_rate: float
    found: tuple[Objective, ...]

    def bearing_on(self, shape: Shape, metrics: Iterable[str]) -> tuple[Objective, ...]:
        """With the metrics that each one bears on. A limit's step changes with the SLO, and with it all that was seen there.

        The first rate belongs to a ramp of the suite's parameters; a line declares its own.
        """
        sought = isinstance(shape, (Ramp, Search))
        names = tuple(name for name in metrics if name not in UNLOADED) if sought else OF_ANY_LOAD
        return tuple(replace(one, metrics=names) for one in self.found if one.name != START or isinstance(shape, Ramp))


def aims_of(params: StressParams, unloaded_s: float, pins: Mapping[str, Pin]) -> Aims:
    """The SLO asked for, or where none is set `latency_s`, pinned or SLO_FACTOR times the unloaded median; and the first rate."""
    asked = params.slo or Slo()
    given = {"ttft_s": asked.ttft_s, "tpot_s": asked.tpot_s, "latency_s": asked.latency_s}
    found = [Objective(name=f"slo.{name}", value=value, source=SUITE) for name, value in given.items() if value is not None]
    slo = asked
    if not found:
        latency = chosen(LATENCY, asked=None, pins=pins, own=SLO_FACTOR * unloaded_s)
        found, slo = [latency], Slo(latency_s=latency.value, attainment=asked.attainment)
    found.append(Objective(name="slo.attainment", value=slo.attainment, source=SUITE))
    start = chosen(START, asked=params.start_rate, pins=pins, own=START_SHARE * params.workers / unloaded_s)
    ladder = [start] if params.shape is None and params.trace is None else []
    return Aims(slo=slo, start_rate=start.value, found=(*found, *ladder))
