"""The subject as a model of EleutherAI's lm-evaluation-harness; imported only where lm_eval is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lmbench.base.errors import WorkloadError
from lmbench.measure.clock import Clock
from lmbench.measure.phases import REPORT_EVERY_S
from lmbench.subject.fidelity import log_softmax, require_finite
from lmbench.subject.protocol import Subject

Pair = tuple[str, str]
BEGINNING = "\n"
"""Stands before a text without a context. Tokenizers here name no token that begins a text; a line end does, in any corpus."""


class SubjectModel(TemplateLM):  # type: ignore[misc]  # it has no types where the library is not installed
    """Log-likelihoods by full forward passes of one row each, timed; TemplateLM encodes context and continuation together.

    A row longer than the model is cut on the left, as the harness's own models do.
    """

    def __init__(self, subject: Subject, clock: Clock, progress: Callable[[str], None]) -> None:
        super().__init__()
        self._subject, self._clock, self._progress = subject, clock, progress
        self._said = clock.now()
        self._cut = False
        self.seconds: dict[tuple[str, int], float] = {}
        """By task and number of the item, all its rows together, encoding included."""
        self.rows: Counter[str] = Counter()
        self.cut_rows: Counter[str] = Counter()

    @property
    def eot_token_id(self) -> int:
        """What the harness puts before a text without a context: the last id of BEGINNING."""
        return self.tok_encode(BEGINNING)[-1]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of the subject's own tokenizer; special tokens are never added."""
        del add_special_tokens
        return self._subject.model.tokenizer.encode(string)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """One (ln p of the continuation, whether it is the greedy one) for each (context, continuation)."""
        del disable_tqdm
        found: list[tuple[float, bool]] = []
        for request in requests:
            started = self._begin()
            found += super().loglikelihood([request], disable_tqdm=True)
            self._end(request, started)
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """ln p of each whole text, in windows of the model's length without overlap of what is predicted."""
        del disable_tqdm
        found: list[float] = []
        for request in requests:
            started = self._begin()
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self._subject.model.facts.max_tokens,
                context_len=1,
            )
            rows = [(("", request.args[0]), *make_disjoint_window(window)) for window in windows]
            found.append(sum(score for score, _ in self._loglikelihood_tokens(rows)))
            self._end(request, started)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Refused: WorkloadError."""
        del requests, disable_tqdm
        raise WorkloadError("found a task that generates text; expected one scored by likelihoods; leave it out of tasks")

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Pair, list[int], list[int]]], **_: Any) -> list[tuple[float, bool]]:
        return [self._score(*request) for request in requests]

    def _score(self, text: Pair, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        room, length = self._subject.model.facts.max_tokens, len(continuation)
        if not context or not 0 < length <= room:
            raise WorkloadError(
                f"found {len(context)} tokens of context and {length} to score, {text[1][:60]!r}; expected at least one of each "
                f"and at most {room} to score; use another tokenizer, a model of more tokens or another task"
            )
        ids = np.asarray([*context, *continuation][-(room + 1) :], dtype=np.int64)
        self._cut |= len(context) + length > room + 1
        logits = require_finite(self._subject.logits(ids[None, :-1])[0, -length:], "the subject on a task")
        wanted = ids[-length:]
        score = log_softmax(logits)[np.arange(length), wanted].sum()
        return float(score), bool((logits.argmax(axis=-1) == wanted).all())

    def _begin(self) -> float:
        self._cut = False
        return self._clock.now()

    def _end(self, request: Any, started: float) -> None:
        now, item = self._clock.now(), (str(request.task_name), int(request.doc_id))
        self.seconds[item] = self.seconds.get(item, 0.0) + now - started
        self.rows[item[0]] += 1
        self.cut_rows[item[0]] += self._cut
        if now - self._said >= REPORT_EVERY_S:
            self._progress(f"{len(self.seconds)} items answered")
            self._said = now
