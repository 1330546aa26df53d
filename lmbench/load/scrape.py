"""A server's own numbers: its Prometheus metrics fetched around a step, counters as growth, gauges as they stood.

A server without them, or one that answers late or badly, is a reason and never an error of the run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lmbench.base.printing import one_line
from lmbench.load.fetch import fetch
from lmbench.measure.clock import Clock

WANTED = re.compile("queue|running|waiting|cache|token|request", re.IGNORECASE)
MAX_SERIES = 200
MAX_BYTES = 2 << 20
MAX_NAME_CHARS = 1000
SHOWN_CHARS = 100
MOST = 2.0**63
OK = 200
UNEXPECTED = (ValueError, LookupError, AttributeError, OverflowError, RecursionError, TypeError)
"""What the parser raises where it meets what it does not expect, some of it in some versions only."""
TIMEOUT_S = 1.0
COUNTER, GAUGE = "counter", "gauge"
MISSING = "prometheus_client is not installed; run: pip install 'pytest-lmbench[load]'"
LEAST = {COUNTER: 0.0, GAUGE: -MOST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One time series, named as the server names it."""

    name: str
    labels: tuple[tuple[str, str], ...]
    kind: str
    """counter (sums and counts of histograms and summaries too) or gauge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What a server told at one moment, or why it told nothing."""

    at_s: float
    """On the run's clock, when the answer was there."""
    values: Mapping[Series, float] = field(default_factory=dict)
    left_out: int = 0
    """Series of interest beyond the first MAX_SERIES."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A server's numbers over a stretch of time, or why there are none."""

    seconds: float
    grown: Mapping[Series, float] = field(default_factory=dict)
    """Counters: how much they grew."""
    stood: Mapping[Series, float] = field(default_factory=dict)
    """Gauges: their value at the end."""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for records."""
        return {
            "seconds": self.seconds,
            "grown": [_entry(series, value) for series, value in self.grown.items()],
            "stood": [_entry(series, value) for series, value in self.stood.items()],
            "reason": self.reason,
        }


class _Unbelievable(ValueError):
    """A number or a name that no server has."""


def metrics_url(base: str) -> str:
    """Where the metrics of a server are: /metrics, beside an API that lies under /v1."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/metrics", "", ""))


def scrape(base: str, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> Scrape:
    """Fetch and read the metrics of the server at `base`; whatever fails becomes `reason`."""
    text, reason = _fetch(metrics_url(base), clock, timeout_s)
    at_s = clock.now()
    if reason:
        return Scrape(at_s=at_s, reason=reason)
    return parse(text, at_s)


def parse(text: str, at_s: float) -> Scrape:
    """Read the text exposition format; only series whose names are WANTED, the first MAX_SERIES of them."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        return Scrape(at_s=at_s, reason=MISSING)
    values: dict[Series, float] = {}
    left_out = 0
    try:
        for series, value in _samples(text_string_to_metric_families(text)):
            if series in values or len(values) < MAX_SERIES:
                values[series] = value
            else:
                left_out += 1
    except _Unbelievable as error:
        return Scrape(at_s=at_s, reason=f"found metrics that are not to be believed: {error}")
    except UNEXPECTED as error:
        words = one_line(str(error)[:MAX_NAME_CHARS])
        return Scrape(at_s=at_s, reason=f"found metrics that are not in Prometheus' text format ({words})")
    return Scrape(at_s=at_s, values=values, left_out=left_out)


def change(before: Scrape, after: Scrape) -> Change:
    """What happened between two scrapes. A series that is new counts from zero, unless it may only have been left out before."""
    seconds = after.at_s - before.at_s
    for one in (before, after):
        if one.reason:
            return Change(seconds=seconds, reason=one.reason)
    stood = {series: value for series, value in after.values.items() if series.kind == GAUGE}
    counters = {series: value for series, value in after.values.items() if series.kind == COUNTER}
    known = {series: before.values.get(series, None if before.left_out else 0.0) for series in counters}
    grown = {series: counters[series] - value for series, value in known.items() if value is not None}
    fell = sorted({series.name for series, growth in grown.items() if growth < 0})
    if fell:
        return Change(seconds=seconds, stood=stood, reason=f"the counter {fell[0]} fell: the server was restarted meanwhile")
    return Change(seconds=seconds, grown=grown, stood=stood)


def _fetch(url: str, clock: Clock, timeout_s: float) -> tuple[str, str]:
    """(text, '') or ('', reason)."""
    found = fetch(url, clock, timeout_s=timeout_s, most_bytes=MAX_BYTES)
    if found.fault:
        return "", f"GET {url} failed: {found.fault}"
    if found.status != OK:
        return "", f"GET {url} answers with status {found.status}"
    return found.body.decode(errors="replace"), ""


def _samples(families: Iterable[Any]) -> Iterator[tuple[Series, float]]:
    """Raises _Unbelievable for a number that a server cannot have counted, or names too long to be kept."""
    for family in families:
        for sample in family.samples:
            kind = _kind(family.type, sample.name)
            if not kind or not WANTED.search(sample.name):
                continue
            value = float(sample.value)
            if kind == GAUGE and not math.isfinite(value):
                continue
            if not (LEAST[kind] <= value <= MOST):
                raise _Unbelievable(f"{_shown(sample.name)} is {value:g}; expected {LEAST[kind]:g} to {MOST:g}")
            labels = tuple(sorted((str(name), str(value)) for name, value in sample.labels.items()))
            if len(sample.name) + sum(len(name) + len(text) for name, text in labels) > MAX_NAME_CHARS:
                raise _Unbelievable(f"{_shown(sample.name)} has a name and labels of more than {MAX_NAME_CHARS} characters")
            yield Series(name=sample.name, labels=labels, kind=kind), value


def _shown(name: str) -> str:
    return one_line(name[:SHOWN_CHARS])


def _kind(family: str, name: str) -> str:
    """counter, gauge, or an empty string for what is not kept: buckets, quantiles, moments of creation."""
    if name.endswith("_created"):
        return ""
    if family in ("histogram", "summary"):
        return COUNTER if name.endswith(("_sum", "_count")) else ""
    if family == "counter" or name.endswith("_total"):
        return COUNTER
    return GAUGE


def _entry(series: Series, value: float) -> dict[str, Any]:
    return {"name": series.name, "labels": dict(series.labels), "value": value}
