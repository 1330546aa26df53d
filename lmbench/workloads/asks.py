"""What the requests of a stress run ask: prompts and lengths by number, from the text, the parameters and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.errors import WorkloadError
from lmbench.base.seams import IntArray, Tokenizer
from lmbench.load import asks, lengths, traces
from lmbench.load.asks import PromptPlan, Sessions, SharedPrefix
from lmbench.load.lengths import ENDS, OUTPUT, PROMPT, Lengths
from lmbench.load.traces import Trace
from lmbench.suite.params import StressParams
from lmbench.workloads.context import Text

AWAY = 1 << 30
"""Numbers from here on are of requests outside of the run (before it, and against the client's own server): their prompts come
from the far end of the plan, so that they do not warm a cache for those of the run."""
FEW = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """Request k's prompt and output length, whoever asks and in whatever order."""

    plan: PromptPlan
    lengths: Lengths
    tokenizer: Tokenizer | None
    as_ids: bool = False
    """Whether endpoints get prompts as token ids, which keeps lengths exact."""

    def prompt(self, index: int) -> IntArray:
        """The prompt as int64 [T]."""
        return self.plan.at(self._number(index))

    def written(self, index: int) -> str | tuple[int, ...]:
        """The prompt as an endpoint gets it."""
        if self.as_ids:
            return tuple(self.prompt(index).tolist())
        if self.tokenizer is None:
            raise WorkloadError("found no tokenizer; expected one, since prompts are sent as text")
        return self.plan.text_at(self._number(index), self.tokenizer).text

    def output_tokens(self, index: int) -> int:
        return int(self.lengths.of(np.array([self._number(index)]))[0, OUTPUT])

    @property
    def longest_prompt(self) -> int:
        """The most tokens a prompt of the run may have."""
        longest = self.lengths.prompt_ends[1]
        mode = self.plan.mode
        if isinstance(mode, Sessions):
            return longest * int(mode.turns.quantile(ENDS)[-1])
        return longest + (mode.tokens or 0 if isinstance(mode, SharedPrefix) else 0)

    @property
    def longest_output(self) -> int:
        """The longest answer among the first FEW requests."""
        return int(self.lengths.of(np.arange(FEW))[:, OUTPUT].max())

    def describe(self, count: int) -> dict[str, Any]:
        """Plain JSON for the record of a run of `count` requests: how prompts are made, and the lengths really asked for."""
        drawn = self.lengths.of(np.arange(max(count, 1)))
        sizes = {"prompt_tokens": lengths.realised(drawn[:, PROMPT]), "output_tokens": lengths.realised(drawn[:, OUTPUT])}
        return {**self.plan.description(), "drawn": sizes, "as_ids": self.as_ids}

    def _number(self, index: int) -> int:
        if index < AWAY:
            return index
        return max(0, min(self.plan.passages.capacity, AWAY) - 1 - (index - AWAY))


def trace_of(params: StressParams) -> Trace | None:
    """The recorded traffic the parameters name."""
    if params.trace is None:
        return None
    return traces.read(Path(params.trace), speed=params.trace_speed, limit_s=params.trace_limit_s)


def asks_of(
    params: StressParams, text: Text, seed: int, trace: Trace | None, *, as_ids: bool = False, endpoint: bool = False
) -> Asks:
    """The requests of a run: lengths from the trace where there is one, prompts from the validation text.

    For an endpoint prompts begin where characters do, because they may be sent as text.
    """
    drawn: Lengths = (
        lengths.lengths(str(params.prompt_tokens), str(params.output_tokens), seed=seed)
        if trace is None
        else lengths.of_trace(trace)
    )
    tokenizer = text.tokenizer if endpoint and not as_ids else None
    plan = asks.prompt_plan(text.valid, drawn, asks.parse(params.prompts), seed=seed, tokenizer=tokenizer)
    return Asks(plan=plan, lengths=drawn, tokenizer=text.tokenizer, as_ids=as_ids)
