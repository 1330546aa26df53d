"""How long requests are: prompt and output tokens of request k, a pure function of k and a seed.

| line | tokens |
|---|---|
| `64` | always the same |
| `uniform 32..128` | every length from 32 to 128 alike |
| `lognormal 64 0.5, max 512` | median 64, sigma 0.5 of the logarithm; cut off below `min` (1) and above `max` |
| `empirical lengths.txt` | those of a file: one per line, `[prompt, output]` pairs as JSONL, or a trace |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmbench.base import json_text
from lmbench.base.digest import DIGEST_CHARS, sha256_file
from lmbench.base.errors import ConfigError, Problem, Unreadable
from lmbench.base.numbers import MOST_COUNT
from lmbench.base.reading import STORED_BYTES, read_text
from lmbench.base.seams import IntArray
from lmbench.load import forms, traces
from lmbench.load.forms import Form, Option, made_of
from lmbench.load.traces import Trace

Shares = npt.NDArray[np.float64]
MOST_SIGMA = 10.0
"""Of a lognormal law: e^10 is a factor of 22,000."""
PROMPT, OUTPUT = 0, 1
"""Columns of lengths, and the streams they are drawn from."""
ENDS = np.array([2.0**-53, 1 - 2.0**-53])
"""The smallest and the largest share that `uniform` gives."""
_GOLDEN, _FIRST, _SECOND = (np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Distribution(Protocol):
    """Lengths in tokens, drawn by inversion: rising with the uniform shares in (0, 1) they are made from."""

    def quantile(self, shares: Shares) -> IntArray: ...


class Lengths(Protocol):
    """Prompt and output tokens of every request."""

    @property
    def prompt_ends(self) -> tuple[int, int]:
        """Tokens of the shortest and of the longest prompt there can be."""

    def of(self, requests: IntArray) -> IntArray:
        """[n] numbers of requests -> int64 [n, 2], prompt and output tokens; the same in any order and on any thread."""

    def description(self) -> dict[str, object]:
        """For the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always `tokens`."""

    tokens: int

    def quantile(self, shares: Shares) -> IntArray:
        return np.full(len(shares), self.tokens, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every whole number from `low` to `high` alike."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise ValueError(f"found {self.low}..{self.high}; expected 1 <= low <= high")

    def quantile(self, shares: Shares) -> IntArray:
        return self.low + np.floor(shares * (self.high - self.low + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """exp(normal(log median, sigma)) to the nearest whole number, given that it lies in [least, most].

    Drawing from the part of the law within the bounds equals drawing again until one lies there (Devroye, Non-Uniform Random
    Variate Generation, 1986, II.2.1). Moving what lies outside onto the bounds instead would add a spike that no traffic has.
    """

    median: float
    sigma: float
    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        positive = self.median > 0 and self.sigma > 0 and self.least >= 1
        low, high = self._bounds() if positive else (0.0, 0.0)
        if not (high - low >= 1e-9 and self.sigma <= MOST_SIGMA and self.median <= MOST_COUNT and self.least <= MOST_COUNT):
            found = f"median {self.median:g}, sigma {self.sigma:g}, min {self.least}, max {self.most}"
            raise ValueError(f"found {found}; expected bounds between which the distribution lies")

    def quantile(self, shares: Shares) -> IntArray:
        from scipy.special import ndtri

        low, high = self._bounds()
        drawn = self.median * np.exp(self.sigma * ndtri(np.minimum(low + (high - low) * shares, ENDS[1])))
        # Only rounding can leave the bounds here.
        most = MOST_COUNT if self.most is None else self.most
        tokens: IntArray = np.clip(np.rint(drawn), self.least, most).astype(np.int64)
        return tokens

    def _bounds(self) -> tuple[float, float]:
        """The normal law's probability below the shortest length, and up to the longest."""
        from scipy.special import ndtr

        low = ndtr(np.log((self.least - 0.5) / self.median) / self.sigma)
        return float(low), 1.0 if self.most is None else float(ndtr(np.log((self.most + 0.5) / self.median) / self.sigma))


@dataclass(frozen=True, slots=True, kw_only=True)
class Empirical:
    """The lengths of a file, drawn with replacement: `values` [n], rising; of a file of pairs the prompts, and `pairs` [n, 2]."""

    path: Path
    digest: str
    values: IntArray = field(repr=False, compare=False)
    pairs: IntArray | None = field(default=None, repr=False, compare=False)

    def quantile(self, shares: Shares) -> IntArray:
        return self.values[(shares * len(self.values)).astype(np.int64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Prompt and output lengths drawn independently of each other."""

    prompt: Distribution
    output: Distribution
    seed: int

    @property
    def prompt_ends(self) -> tuple[int, int]:
        shortest, longest = self.prompt.quantile(ENDS).tolist()
        return shortest, longest

    def of(self, requests: IntArray) -> IntArray:
        columns = ((self.prompt, PROMPT), (self.output, OUTPUT))
        return np.stack([law.quantile(uniform(self.seed, stream, requests)) for law, stream in columns], axis=1)

    def description(self) -> dict[str, object]:
        return {"prompt_tokens": line_of(self.prompt), "output_tokens": line_of(self.output), "seed": self.seed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Recorded pairs, which keep how the two lengths go together: in their order, then from the start, or drawn by `seed`."""

    pairs: IntArray = field(repr=False, compare=False)
    """[n, 2]"""
    digest: str
    seed: int | None = None

    @property
    def prompt_ends(self) -> tuple[int, int]:
        return int(self.pairs[:, PROMPT].min()), int(self.pairs[:, PROMPT].max())

    def of(self, requests: IntArray) -> IntArray:
        count = len(self.pairs)
        if self.seed is None:
            return self.pairs[np.asarray(requests) % count]
        return self.pairs[(uniform(self.seed, PROMPT, requests) * count).astype(np.int64)]

    def description(self) -> dict[str, object]:
        order = "as recorded" if self.seed is None else "drawn"
        return {"pairs": len(self.pairs), "digest": self.digest, "order": order, "seed": self.seed}


def uniform(seed: int, stream: int, numbers: IntArray) -> Shares:
    """Share number k of a stream for every k of `numbers`, in (0, 1): SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).

    Its n-th output depends on n and the seed alone, so that request k is the same however many came before.
    """
    start = _mix(_mix(np.array([seed % 2**64], dtype=np.uint64)) + np.uint64(stream))
    bits = _mix(start + (np.asarray(numbers).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def lengths(prompt: str, output: str, *, seed: int) -> Lengths:
    """The lengths that two lines declare; of one file of pairs, named by both, the pairs stay together."""
    first, second = parse(prompt), parse(output)
    if isinstance(first, Empirical) and first == second and first.pairs is not None:
        return Listed(pairs=first.pairs, digest=first.digest, seed=seed)
    if isinstance(second, Empirical) and second.pairs is not None:
        second = replace(second, values=np.sort(second.pairs[:, OUTPUT]))
    return Drawn(prompt=first, output=second, seed=seed)


def of_trace(trace: Trace) -> Listed:
    """The lengths of a trace, request by request."""
    return Listed(pairs=np.stack([trace.prompt_tokens, trace.output_tokens], axis=1), digest=trace.digest)


def realised(tokens: IntArray) -> dict[str, float]:
    """What was really drawn, for the record: mean, quantiles and ends of tokens [n], n >= 1."""
    quantiles = {f"p{q}": float(np.percentile(tokens, q)) for q in (50, 90, 99)}
    return {"mean": float(tokens.mean()), "min": float(tokens.min()), **quantiles, "max": float(tokens.max())}


def parse(text: str) -> Distribution:
    """The distribution that a line declares, see the table above; raises ConfigError with a caret under what is wrong."""
    return forms.read(DISTRIBUTIONS, text, key="lengths")


def line_of(distribution: Distribution) -> str:
    """The line that `parse` turns into `distribution`."""
    return forms.write(DISTRIBUTIONS, distribution)


def _empirical(path: str) -> Empirical:
    place = Path(path)
    try:
        text = read_text(place, STORED_BYTES)
    except Unreadable as fault:
        raise _wrong(place, fault.line, fault.found) from fault
    if text.lstrip()[:1] in "0123456789[":
        rows = [_row(place, line, content) for line, content in enumerate(text.splitlines(), start=1) if content.strip()]
        if not rows or len({len(row) for row in rows}) > 1:
            raise _wrong(place, None, "lengths and pairs mixed" if rows else "an empty file")
        table = np.array(rows, dtype=np.int64)
    else:
        table = of_trace(traces.read(place)).pairs
    pairs = table if table.shape[1] > 1 else None
    return Empirical(path=place, digest=sha256_file(place)[:DIGEST_CHARS], values=np.sort(table[:, PROMPT]), pairs=pairs)


def _row(path: Path, line: int, text: str) -> list[int]:
    try:
        found = json_text.loads(text)
    except Unreadable:
        found = None
    row = [found] if type(found) is int else found
    if not isinstance(row, list) or len(row) not in (1, 2) or not all(type(one) is int and 1 <= one <= MOST_COUNT for one in row):
        raise _wrong(path, line, repr(text.strip()[:40]))
    return row


def _wrong(path: Path, line: int | None, found: str) -> ConfigError:
    expected = "one length or one [prompt, output] pair per line, whole numbers above 0, or a trace"
    return ConfigError([Problem(file=str(path), line=line, key="lengths", found=found, expected=expected)])


def _of_empirical(value: Any) -> Mapping[str, Any] | None:
    return {"path": value.path} if isinstance(value, Empirical) else None


DISTRIBUTIONS: tuple[Form[Distribution], ...] = (
    Form(word="", template="{tokens:count}", make=Fixed, given=made_of(Fixed)),
    Form(word="uniform", template="{low:count}..{high:count}", make=Uniform, given=made_of(Uniform)),
    Form(
        word="lognormal",
        template="{median:number} {sigma:number}",
        make=Lognormal,
        given=made_of(Lognormal),
        options=(Option(template="min {least:count}", default=1), Option(template="max {most:count}", default=None)),
    ),
    Form(word="empirical", template="{path:path}", make=_empirical, given=_of_empirical),
)
