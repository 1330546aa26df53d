"""What load a stress case means: its shape, and when the requests of a step leave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmbench.base.errors import ConfigError, WorkloadError
from lmbench.load.arrivals import GAMMA, Arrivals, Schedule, schedule
from lmbench.load.grammar import line_of, parse
from lmbench.load.profiles import Hold, Profile, Replay
from lmbench.load.ramp import Ramp
from lmbench.load.search import COARSE, Search
from lmbench.load.shapes import Shape, Step
from lmbench.load.traces import Trace
from lmbench.suite.params import StressParams

ONCE_REQUESTS = 3


def shape_of(params: StressParams, rate: float, trace: Trace | None, *, once: bool) -> Shape:
    """The shape asked for; without one a ramp from `rate` on. A few requests at that rate when `once`."""
    if once:
        return Hold(rate=rate, duration_s=ONCE_REQUESTS / rate)
    if trace is not None:
        return Replay(trace=trace)
    if params.shape is not None:
        return parse(params.shape)
    return Ramp(
        start_rate=rate,
        growth=params.growth,
        max_steps=params.max_steps,
        step_s=params.step_s,
        recovery_s=params.recovery_s,
        resolution=params.resolution,
    )


def top_rate(shape: Shape) -> float | None:
    """The highest rate a shape may offer, in requests/s; None where only the run will tell."""
    if isinstance(shape, Ramp):
        return shape.start_rate * shape.growth ** (shape.max_steps - 1)
    if isinstance(shape, Profile):
        rates = [max(one.rate, one.end_rate or 0.0) for one in shape.segments if one.streams is None]
        return max(rates, default=None)
    return None


def schedule_of(params: StressParams, shape: Shape) -> Callable[[Step, np.random.Generator], Schedule]:
    """When the requests of a step leave: drawn as the parameters say, or as recorded."""
    arrivals = Arrivals(kind=params.arrivals, burstiness=params.burstiness if params.arrivals == GAMMA else 1.0)

    def offsets(step: Step, rng: np.random.Generator) -> Schedule:
        return shape.schedule(step) if isinstance(shape, Replay) else schedule(step, arrivals, rng)

    return offsets


def line(shape: Shape) -> str:
    """The shape on one line, for people."""
    if isinstance(shape, Replay):
        trace = shape.trace
        return f"trace {trace.digest}: {len(trace)} requests in {trace.duration_s:.0f} s"
    try:
        return line_of(shape)
    except (ValueError, ConfigError):
        return repr(shape)


def require_begin(shape: Shape) -> None:
    """Raise WorkloadError for a search whose time does not even allow its first probe."""
    if isinstance(shape, Search) and shape.next_step((), 0.0) is None:
        needed = shape.needed / COARSE / shape.start_rate
        raise WorkloadError(
            f"found a search that begins with {shape.start_rate:g} requests/s, where a probe takes {needed:.0f} s, "
            f"and stops after {shape.max_total_s:.0f} s in all; expected time for some probes: add `, total 2h`, "
            "`, at least 100 requests` or `within 10%`, or begin higher"
        )
