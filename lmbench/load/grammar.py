"""Every load shape on one line, for suite files and the command line.

| line | load |
|---|---|
| `hold 20 for 60s` | 20 requests/s for a minute; rates may be `20/s` or `1200/min`, times `500ms`, `60s`, `1m` or `1h` |
| `steps 5, 10, 20 for 30s each` | given rates one after the other |
| `ramp 1..64 in 60s` | a straight line, in 10 pieces so that there are points on the curve; `, pieces 20` for more |
| `ramp 1..64 x1.5 for 10s each` | steps until the SLO breaks, then 10 s at the first; `, recovery 30s`, `, within 10%` |
| `climb 1..64 x2 for 10s each` | geometric steps up to 64, all of them, whatever the SLO says |
| `spike 5..50 for 10s, 30s around` | 5 requests/s for 30 s, ten seconds of 50, then 5 again to see the service recover |
| `soak 10 for 2h` | one long step |
| `wave 5..40 for 10m` | two peaks, as a day's traffic has, in 24 straight pieces; `, pieces 48` for finer ones |
| `closed 1, 4, 16 for 30s each, think 500ms` | so many users, each sending again 500 ms (mean) after an answer |
| `search 1.. for 20s each, within 5%` | the highest rate that keeps the SLO; `, at least 400 requests` a probe, `, total 2h` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.load import forms
from lmbench.load.forms import Form, Option, made_of
from lmbench.load.profiles import (
    RAMP_PIECES,
    WAVE_PIECES,
    Closed,
    Geometric,
    Hold,
    Slope,
    Soak,
    Spike,
    Steps,
    Wave,
    steps_between,
)
from lmbench.load.ramp import Ramp
from lmbench.load.shapes import Shape

MIN_REQUESTS = Ramp.__dataclass_fields__["min_requests"].default


def parse(text: str) -> Shape:
    """The shape that a line declares; raises ConfigError with a caret under what is wrong."""
    return forms.read(SHAPES, text, key="shape")


def line_of(shape: Shape) -> str:
    """The line that `parse` turns into `shape`; raises ValueError for one that a line cannot say."""
    return forms.write(SHAPES, shape)


def _ramp(*, start: float, end: float, growth: float, step_s: float, recovery_s: float | None, **given: Any) -> Ramp:
    return Ramp(
        start_rate=start,
        growth=growth,
        max_steps=steps_between(start, end, growth),
        step_s=step_s,
        recovery_s=step_s if recovery_s is None else recovery_s,
        **given,
    )


def _of_ramp(shape: object) -> Mapping[str, Any] | None:
    if not isinstance(shape, Ramp):
        return None
    return {
        "start": shape.start_rate,
        "end": float(f"{shape.start_rate * shape.growth ** (shape.max_steps - 1):.6g}"),
        "growth": shape.growth,
        "step_s": shape.step_s,
        "recovery_s": None if shape.recovery_s == shape.step_s else shape.recovery_s,
        "min_requests": shape.min_requests,
        "resolution": shape.resolution,
    }


def _search(**given: Any) -> Shape:
    from lmbench.load.search import Search

    return Search(**given)


def _of_search(shape: object) -> Mapping[str, Any] | None:
    from lmbench.load.search import Search

    return made_of(Search)(shape)


SHAPES: tuple[Form[Shape], ...] = (
    Form(word="hold", template="{rate:rate} for {duration_s:duration}", make=Hold, given=made_of(Hold)),
    Form(word="steps", template="{rates:rates} for {each_s:duration} each", make=Steps, given=made_of(Steps)),
    Form(
        word="ramp",
        template="{start:level}..{end:level} in {duration_s:duration}",
        make=Slope,
        given=made_of(Slope),
        options=(Option(template="pieces {pieces:count}", default=RAMP_PIECES),),
    ),
    Form(
        word="ramp",
        template="{start:level}..{end:level} x{growth:factor} for {step_s:duration} each",
        make=_ramp,
        given=_of_ramp,
        options=(
            Option(template="recovery {recovery_s:pause}", default=None),
            Option(template="at least {min_requests:count} requests", default=MIN_REQUESTS),
            Option(template="within {resolution:share}", default=None),
        ),
    ),
    Form(
        word="climb",
        template="{start:rate}..{end:rate} x{growth:factor} for {each_s:duration} each",
        make=Geometric,
        given=made_of(Geometric),
    ),
    Form(
        word="spike",
        template="{base:rate}..{peak:rate} for {peak_s:duration}, {around_s:duration} around",
        make=Spike,
        given=made_of(Spike),
    ),
    Form(word="soak", template="{rate:rate} for {duration_s:duration}", make=Soak, given=made_of(Soak)),
    Form(
        word="wave",
        template="{low:level}..{high:rate} for {duration_s:duration}",
        make=Wave,
        given=made_of(Wave),
        options=(Option(template="pieces {pieces:count}", default=WAVE_PIECES),),
    ),
    Form(
        word="closed",
        template="{streams:counts} for {each_s:duration} each",
        make=Closed,
        given=made_of(Closed),
        options=(Option(template="think {think_s:pause}", default=0.0),),
    ),
    Form(
        word="search",
        template="{start_rate:rate}.. for {probe_s:duration} each",
        make=_search,
        given=_of_search,
        options=(
            Option(template="within {resolution:share}", default=0.05),
            Option(template="at least {min_requests:count} requests", default=None),
            Option(template="total {max_total_s:duration}", default=1800.0),
        ),
    ),
)
