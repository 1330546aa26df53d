"""LoadGen's summary file, read: its verdict, why it is not valid, and every number it names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmbench.base.errors import WorkloadError

NS = 1e-9
PERCENTILE = re.compile(r"([\d.]+) percentile (latency|first token latency|time to output token) \(ns\)")
MEAN = {
    "latency": ("Mean latency (ns)",),
    "first token latency": ("Mean First Token latency (ns)",),
    "time to output token": ("Mean Time per Output Token (ns)", "Mean Time to Output Token (ns)"),
}
RATES = ("QPS w/ loadgen overhead", "Completed samples per second", "Samples per second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """mlperf_log_summary.txt as LoadGen writes it."""

    valid: bool
    reasons: tuple[str, ...]
    """LoadGen's own words on why the run is not valid; empty when it is."""
    values: Mapping[str, str]
    """Everything of the form `name : value`, the settings included."""
    complaints: tuple[str, ...] = ()
    """Errors and warnings LoadGen met."""

    @property
    def rate(self) -> float | None:
        """Samples per second; None in the MultiStream scenario, which has none, and for a single sample."""
        found = next((float(self.values[name]) for name in RATES if name in self.values), math.nan)
        return found if math.isfinite(found) else None

    def mean_s(self, what: str) -> float | None:
        """Mean of 'latency', 'first token latency' or 'time to output token' in seconds, None where LoadGen gives none."""
        return next((float(self.values[name]) * NS for name in MEAN[what] if name in self.values), None)

    def percentile_s(self, what: str, q: float) -> float | None:
        """The q-th percentile of the same in seconds; LoadGen takes the sorted sample number floor(n q / 100)."""
        for name, value in self.values.items():
            found = PERCENTILE.fullmatch(name)
            if found and found[2] == what and float(found[1]) == q:
                return float(value) * NS
        return None


def parse_summary(text: str) -> Summary:
    """Read the summary. Raises WorkloadError when there is no verdict in it."""
    lines = text.splitlines()
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.rpartition(":")
        if colon and value.strip():
            values.setdefault(name.strip(" *"), value.strip())
    verdict = values.get("Result is")
    if verdict not in ("VALID", "INVALID"):
        raise WorkloadError(f"found no verdict in LoadGen's summary ({text[:200]!r}); expected 'Result is : VALID' or INVALID")
    complaints = tuple(line.strip() for line in lines if "encountered" in line and not line.startswith("No "))
    reasons = tuple(_reasons(lines, values)) if verdict == "INVALID" else ()
    return Summary(valid=verdict == "VALID", reasons=reasons, values=values, complaints=complaints)


def _reasons(lines: Sequence[str], values: Mapping[str, str]) -> Iterator[str]:
    """What was not satisfied, LoadGen's recommendations, and its account of early stopping where that is the trouble."""
    yield from (f"{name.removesuffix(' satisfied')} not satisfied" for name, value in values.items() if value == "NO")
    told = ["Recommendations:"]
    if values.get("Early stopping satisfied") == "NO":
        told += ["Early Stopping Result:", "TTFT Early Stopping Result:", "TPOT Early Stopping Result:"]
    yield from (sentence for title, sentence in _bullets(lines) if title in told)


def _bullets(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(the title above, the sentence) of each line that begins with ` * `; indented lines after it go on with the sentence."""
    title = sentence = ""
    for line in [*lines, ""]:
        if sentence and line.startswith(" ") and not line.startswith(" * "):
            sentence += " " + line.strip()
            continue
        if sentence:
            yield title, sentence
        sentence = line.removeprefix(" * ").strip() if line.startswith(" * ") else ""
        if line.endswith(":"):
            title = line
