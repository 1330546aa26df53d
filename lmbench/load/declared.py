"""Whether the one-line declarations of a load can be read, asked before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmbench.base.errors import ConfigError, Problem
from lmbench.load import asks, grammar, lengths
from lmbench.load.arrivals import GAMMA


def faults(params: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """(key, problem) for each of the parameters of `stress` that cannot be read; the problem's place is within the line."""
    readers = {"shape": grammar.parse, "prompts": asks.parse, "prompt_tokens": lengths.parse, "output_tokens": lengths.parse}
    for key, read in readers.items():
        if params.get(key) is None:
            continue
        try:
            read(str(params[key]))
        except ConfigError as error:
            yield from ((key, problem) for problem in error.problems)
    if params.get("burstiness", 1.0) != 1.0 and params.get("arrivals") != GAMMA:
        expected = f"arrivals: {GAMMA} beside it, the kind that has a burstiness"
        yield "burstiness", Problem(file="", line=None, key="", found=f"{params['burstiness']}", expected=expected)
    if params.get("trace") is not None and params.get("shape") is not None:
        yield "shape", Problem(file="", line=None, key="", found="both a shape and a trace", expected="one of them")
