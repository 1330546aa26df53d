"""What arrives in each minute of the day planned for, and how long its requests take where their lengths were not measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.base.errors import SubjectError
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan_file import HOURS, RequestClass, Traffic

MINUTES = 24 * 60
SHAPES: Mapping[str, tuple[float, ...]] = {
    "flat": (1.0,) * HOURS,
    "office": (2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 14, 12, 13, 15, 15, 14, 12, 9, 7, 6, 5, 4, 3),
    "evening": (6, 4, 3, 2, 2, 2, 3, 4, 5, 6, 6, 7, 8, 8, 8, 8, 9, 11, 13, 15, 16, 15, 12, 9),
}
"""Shapes for a first plan, not data: hourly weights of a service used at work, and of one used at home."""
SAMPLES = 4000
"""Service times of each run that a mixture of classes is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Requests/s in each minute of the day, the mean within the minute; bursts are `burst` times that."""

    per_minute: tuple[float, ...]
    burst: float

    @property
    def peak(self) -> float:
        """The busiest minute, burst included."""
        return max(self.per_minute) * self.burst

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_minute))


def demand(traffic: Traffic, moments_s: Sequence[float] = ()) -> Demand:
    """The day of `traffic`; `moments_s` are those of its trace, in seconds since the trace began.

    Hourly factors hold in the middle of their hour, and are joined by lines around the clock. A trace is stretched to the day.
    """
    middles = (np.arange(HOURS) + 0.5) * 60
    minutes = np.arange(MINUTES) + 0.5
    if moments_s:
        span = max(moments_s) - min(moments_s)
        counts, _ = np.histogram((np.asarray(moments_s) - min(moments_s)) / max(span, 1e-9), bins=MINUTES, range=(0, 1))
        shape = counts.astype(float)
    else:
        weights = SHAPES[traffic.profile] if isinstance(traffic.profile, str) else tuple(traffic.profile)
        shape = np.interp(minutes, middles, weights, period=MINUTES)
    rates = shape / shape.mean() * traffic.requests_per_s * traffic.growth
    return Demand(per_minute=tuple(float(rate) for rate in rates), burst=traffic.burst)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A replica under the plan's request classes, and what of it lies beyond the measured lengths."""

    replica: Replica
    beyond: tuple[str, ...] = ()


def mixed(replica: Replica, classes: Mapping[str, RequestClass], *, limit: float, seed: int = 0) -> Mixed:
    """The replica as it serves the classes: its measured times stretched by what longer prompts and answers take, by share.

    SubjectError where the effect of a length was not measured, or where a length is further than `limit` times from it.
    """
    if not classes:
        return Mixed(replica=replica)
    prompt, output = replica.prompt_tokens, replica.output_tokens
    if prompt is None or output is None:
        raise SubjectError(
            f"option {replica.option!r}: its records do not tell the lengths of their requests, so the plan's classes cannot be "
            "compared with them; leave classes out to plan for the requests that were measured"
        )
    rng = np.random.default_rng(seed)
    shares = np.array([one.share for one in classes.values()])
    counts = np.maximum(1, np.round(SAMPLES * shares / shares.sum()).astype(int))
    beyond: list[str] = []
    longer, later = [], []
    for name, one in classes.items():
        lengths = (float(one.prompt_tokens or prompt), float(one.output_tokens or output))
        longer.append(_stretch(replica, name, lengths, limit, beyond))
        later.append(_first(replica, lengths, (prompt, output)))

    def stretched(run: Sequence[float], factors: Sequence[float]) -> tuple[float, ...]:
        drawn = (factor * rng.choice(np.asarray(run), size=count) for factor, count in zip(factors, counts, strict=True))
        return tuple(np.concatenate(list(drawn)).tolist())

    weights = counts / counts.sum()
    return Mixed(
        replica=dataclasses.replace(
            replica,
            service_s=tuple(stretched(run, longer) for run in replica.service_s),
            first_token_s=tuple(stretched(run, later) for run in replica.first_token_s),
            prompt_tokens=float(sum(w * (one.prompt_tokens or prompt) for w, one in zip(weights, classes.values(), strict=True))),
            output_tokens=float(sum(w * (one.output_tokens or output) for w, one in zip(weights, classes.values(), strict=True))),
        ),
        beyond=tuple(beyond),
    )


def stretched_s(scaling: Mapping[str, float], prompt: float, output: float) -> float:
    """Service time of these lengths by the fitted line, in seconds."""
    return scaling["fixed_s"] + scaling["prompt_s_per_token"] * prompt + scaling["output_s_per_token"] * output


def _stretch(replica: Replica, name: str, lengths: tuple[float, float], limit: float, beyond: list[str]) -> float:
    """How many times longer requests of these lengths are served than the measured ones."""
    measured = (float(replica.prompt_tokens or 0), float(replica.output_tokens or 0))
    if lengths == measured:
        return 1.0
    if not replica.scaling:
        why = replica.reasons.get("scaling", "only one length was measured")
        raise SubjectError(
            f"option {replica.option!r}, class {name!r}: found {lengths[0]:g} prompt and {lengths[1]:g} output tokens, measured "
            f"{measured[0]:g} and {measured[1]:g}, and what other lengths cost is not known ({why}); measure a latency case too"
        )
    for what, asked, known in zip(("prompt", "output"), lengths, measured, strict=True):
        if asked > limit * known:
            raise SubjectError(
                f"option {replica.option!r}, class {name!r}: {asked:g} {what} tokens are more than {limit:g} times the measured "
                f"{known:g}; measure longer requests, or raise extrapolate and take the risk"
            )
        if asked > known:
            beyond.append(f"class {name}: {asked:g} {what} tokens, measured {known:g}")
    return stretched_s(replica.scaling, *lengths) / stretched_s(replica.scaling, *measured)


def _first(replica: Replica, lengths: tuple[float, float], measured: tuple[float, float]) -> float:
    """How many times later the first token comes: with one output token each, by the fitted line."""
    if not replica.scaling or lengths[0] == measured[0]:
        return 1.0
    return stretched_s(replica.scaling, lengths[0], 1.0) / stretched_s(replica.scaling, measured[0], 1.0)
