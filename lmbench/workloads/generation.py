"""One generation, prompt in and tokens out, with the moment of every token; shared by latency, throughput and stress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmbench.base.errors import LmbenchError, WorkloadError
from lmbench.base.seams import CAUSAL, FloatArray, IntArray
from lmbench.data.prompts import prompts
from lmbench.measure.clock import Clock
from lmbench.subject.protocol import Subject

Choose = Callable[[FloatArray], IntArray]
"""Logits [B, V] -> the chosen ids [B]."""
POOL = 1024
"""Prompts drawn at once; longer runs go through them again."""
REPEATS_FORWARD = "the model carries no state: every token repeats the full forward pass over all tokens before it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation of n tokens per sequence; moments in seconds on the run's clock, durations in seconds."""

    started_s: float
    token_times_s: tuple[float, ...]
    """The moment each of the n tokens had been chosen (for the whole batch)."""
    prefill_s: float
    """The forward pass over the prompt, without choosing the token."""
    decode_s: tuple[float, ...]
    """Each of the n - 1 decode steps, without choosing the token."""
    tokens: IntArray
    """int64 [B, n]"""

    @property
    def ttft_s(self) -> float:
        """Prefill and the choice of the first token."""
        return self.token_times_s[0] - self.started_s

    @property
    def latency_s(self) -> float:
        return self.token_times_s[-1] - self.started_s

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """The n - 1 times between neighbouring tokens."""
        return tuple(after - before for before, after in pairwise(self.token_times_s))

    @property
    def tpot_s(self) -> float | None:
        """(latency - ttft) / (n - 1); None for one token."""
        return (self.latency_s - self.ttft_s) / (len(self.token_times_s) - 1) if len(self.token_times_s) > 1 else None


def greedy(logits: FloatArray) -> IntArray:
    """The most likely token of each sequence; the first of equals."""
    return np.asarray(logits.argmax(axis=-1), dtype=np.int64)


def sampler(temperature: float, seed: int) -> Choose:
    """Greedy at temperature 0, else seeded draws from softmax(logits / temperature) by the Gumbel-max trick.

    (E. J. Gumbel, Statistical Theory of Extreme Values, 1954: argmax(x + Gumbel noise) ~ softmax(x).)
    """
    if temperature == 0:
        return greedy
    rng = np.random.default_rng(seed)

    def choose(logits: FloatArray) -> IntArray:
        noisy = logits.astype(np.float64) / temperature + rng.gumbel(size=logits.shape)
        return np.asarray(noisy.argmax(axis=-1), dtype=np.int64)

    return choose


def generate(subject: Subject, ids: IntArray, output_tokens: int, choose: Choose, clock: Clock) -> Generation:
    """Prompt ids [B, T] -> `output_tokens` tokens per sequence, the clock read around every forward pass."""
    started = clock.now()
    logits, state = subject.prefill(ids)
    ready = clock.now()
    chosen = [choose(logits)]
    times = [clock.now()]
    prefill = ready - started
    decode: list[float] = []
    while len(chosen) < output_tokens:
        logits, state = subject.decode(chosen[-1], state)
        ready = clock.now()
        decode.append(ready - times[-1])
        chosen.append(choose(logits))
        times.append(clock.now())
    return Generation(
        started_s=started,
        token_times_s=tuple(times),
        prefill_s=prefill,
        decode_s=tuple(decode),
        tokens=np.stack(chosen, axis=1),
    )


class PromptPool:
    """Prompts in a fixed order, each different from the start; begins again after the last one."""

    def __init__(self, windows: IntArray) -> None:
        self._windows = windows
        self._next = 0

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, batch: int) -> IntArray:
        """The next `batch` prompts [batch, T]."""
        found = self.block(self._next, batch)
        self._next += batch
        return found

    def block(self, start: int, batch: int) -> IntArray:
        """`batch` prompts from number `start` on, whatever was taken before."""
        return self._windows[np.arange(start, start + batch) % len(self._windows)]

    def at(self, index: int) -> IntArray:
        """Prompt number `index` as a batch of one [1, T]; for callers on several threads."""
        row = index % len(self._windows)
        return self._windows[row : row + 1]


def prompt_pool(ids: IntArray, *, tokens: int, least: int, seed: int) -> PromptPool:
    """Up to POOL prompts of `tokens` from ids [n], at least `least` (so that a batch never repeats one).

    Raises LmbenchError when the text has fewer than `least` different ones.
    """
    count = max(POOL, least)
    while count > least:
        try:
            return PromptPool(prompts(ids, count=count, tokens=tokens, seed=seed))
        except LmbenchError:
            count = max(least, count // 2)
    return PromptPool(prompts(ids, count=least, tokens=tokens, seed=seed))


def require_room(subject: Subject, prompt_tokens: int, output_tokens: int) -> None:
    """Raise WorkloadError when the model does not generate or cannot hold prompt and output together."""
    facts = subject.model.facts
    if facts.objective != CAUSAL:
        raise WorkloadError(
            f"found model {facts.name!r}, which predicts hidden tokens; expected one that predicts the next, to generate with; "
            "measure it with scoring"
        )
    if prompt_tokens + output_tokens > facts.max_tokens:
        raise WorkloadError(
            f"found {prompt_tokens} prompt and {output_tokens} output tokens; expected at most {facts.max_tokens} together "
            f"for model {facts.name!r}; lower prompt_tokens or output_tokens"
        )
