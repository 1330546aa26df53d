"""What every subject of a model is asked: fixed prompts and validation windows, and the parent's answers, kept on disk."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmbench.base.cache import build_for_now, build_once
from lmbench.base.digest import digest_bytes
from lmbench.base.errors import SubjectError
from lmbench.base.registry import BACKENDS, MODELS, resolve
from lmbench.base.seams import CAUSAL, FloatArray, IntArray, LanguageModel, ModelFacts
from lmbench.compress import none
from lmbench.data.prompts import HIDDEN_EVERY, windows
from lmbench.plan.case import Case
from lmbench.subject.fidelity import require_finite, summed_loss
from lmbench.subject.protocol import Subject

RECIPE = 1
"""Raise when prompts, windows or the way of asking change."""
PROMPTS, PROMPT_TOKENS, DECODED_TOKENS = 4, 32, 4
WINDOW_TOKENS, WINDOWS_LIMIT = 128, 1024
ANSWERS = "answers.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`prompts` [P, T] for logits, compared one by one; `windows` [N, W + 1] for perplexity, inputs and targets in one."""

    prompts: IntArray
    windows: IntArray

    @property
    def digest(self) -> str:
        """Of all ids and the shapes they stand in."""
        return digest_bytes(b"".join(repr(ids.shape).encode() + ids.tobytes() for ids in (self.prompts, self.windows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Logits [P, T, V] on the prompts, and exp(mean loss) over the windows; `measure` is that number's name as a metric."""

    logits: FloatArray
    perplexity: float
    measure: str


def probe(valid_ids: IntArray, max_tokens: int) -> Probe:
    """The probe for ids [n] of validation text and a model of `max_tokens`.

    Four prompts of at most 32 tokens spread evenly over the text; consecutive windows of at most 128 tokens from its
    start, without overlap, together at most 1024 tokens.
    """
    room = min(max_tokens - 1, len(valid_ids) - 1)
    if room < 1:
        found = f"{len(valid_ids)} tokens of validation text and a model of {max_tokens} tokens"
        raise SubjectError(f"found {found}; expected at least 2 of each to check a subject; use a longer corpus")
    tokens = min(PROMPT_TOKENS, room)
    starts = np.linspace(0, len(valid_ids) - tokens, PROMPTS).astype(np.int64)
    prompts = np.stack([valid_ids[start : start + tokens] for start in starts])
    return Probe(prompts=prompts, windows=windows(valid_ids, tokens=min(WINDOW_TOKENS, room), limit=WINDOWS_LIMIT))


def ask(subject: Subject, asked: Probe, what: str, *, stepwise: bool = True) -> Answers:
    """The subject's answers, every sequence alone (so that compiled engines need few graphs).

    `stepwise` answers the last tokens of each prompt by decoding from the state, as generation does, so that a broken
    cache shows; models without a state have only the full pass. One that predicts hidden tokens is asked for every token of
    prompts and windows, each hidden once. FidelityError when a logit is not finite.
    """
    logits = [_prompt_logits(subject, prompt[None], stepwise=stepwise) for prompt in asked.prompts]
    answered = require_finite(np.concatenate(logits), what)
    perplexity = _perplexity(subject, asked.windows, what)
    return Answers(logits=answered, perplexity=perplexity, measure=measure(subject.model.facts))


def measure(facts: ModelFacts) -> str:
    """The metric that exp(mean loss) over the windows is, by what the model predicts and how that is hidden."""
    if facts.objective == CAUSAL:
        return "perplexity"
    return "pseudo_perplexity" if facts.mask_id is None else "masked_perplexity"


def plain_answers(case: Case, model: LanguageModel, asked: Probe) -> Answers:
    """A plain model's answers by its reference backend, from the cache or asked now."""
    backend = MODELS[case.model.kind].reference
    key = {
        "recipe": RECIPE,
        "weights": model.facts.weights_digest,
        "code": model.facts.code_digest,
        "details": dict(model.facts.details),
        "asked": asked.digest,
        "backend": backend,
        "versions": {need.module: importlib.metadata.version(need.module) for need in BACKENDS[backend].needs},
    }
    if model.facts.objective != CAUSAL:
        key |= {"measure": measure(model.facts), "hidden_every": HIDDEN_EVERY}

    def build(folder: Path) -> None:
        parent = reference(case, model)
        answers = ask(parent, asked, f"{model.facts.name!r} on its reference backend", stepwise=False)
        parent.close()
        np.savez(folder / ANSWERS, logits=answers.logits, perplexity=answers.perplexity)

    folder = (build_for_now if model.facts.code_digest is None else build_once)("reference", key, build)
    with np.load(folder / ANSWERS, allow_pickle=False) as kept:
        return Answers(logits=kept["logits"], perplexity=float(kept["perplexity"]), measure=measure(model.facts))


def reference(case: Case, model: LanguageModel) -> Subject:
    """A plain model on its reference backend, not checked."""
    load = resolve(BACKENDS[MODELS[case.model.kind].reference].target)
    return Subject(model=model, engine=load(model, none.build({}), {}), description={})


def _prompt_logits(subject: Subject, ids: IntArray, *, stepwise: bool) -> FloatArray:
    if subject.model.facts.objective != CAUSAL:
        return _filled_in(subject, ids)
    split = ids.shape[1] - DECODED_TOKENS
    if subject.repeats_full_forward or not stepwise or split < 1:
        return subject.logits(ids)
    engine = subject.engine
    first, state = engine.forward(ids[:, :split], np.arange(split), engine.empty_state(1))
    parts = [first]
    for place in range(split, ids.shape[1]):
        logits, state = subject.decode(ids[:, place], state)
        parts.append(logits[:, None])
    return np.concatenate(parts, axis=1)


def _perplexity(subject: Subject, rows: IntArray, what: str) -> float:
    causal = subject.model.facts.objective == CAUSAL
    loss = 0.0
    for row in rows:
        ids = row[None, :-1]
        logits = subject.logits(ids) if causal else _filled_in(subject, ids)
        loss += summed_loss(require_finite(logits, what), row[None, 1:] if causal else ids)
    return float(np.exp(loss / rows[:, 1:].size))


def _filled_in(subject: Subject, ids: IntArray) -> FloatArray:
    """Logits [B, T, V] of ids [B, T] themselves, from passes in which they are hidden.

    A model that hides each token from its own prediction needs one pass. Otherwise every HIDDEN_EVERY-th token is hidden at
    once, in as many passes shifted by one: every token is predicted once, and the parent is shown the same. (Salazar et al.
    2020, arXiv:1910.14659, hide one token at a time, in as many passes as there are tokens.)
    """
    mask_id = subject.model.facts.mask_id
    if mask_id is None:
        return subject.logits(ids)
    logits = np.empty((*ids.shape, subject.model.facts.vocab_size), dtype=np.float32)
    for first in range(min(HIDDEN_EVERY, ids.shape[1])):
        hidden = ids.copy()
        hidden[:, first::HIDDEN_EVERY] = mask_id
        logits[:, first::HIDDEN_EVERY] = subject.logits(hidden)[:, first::HIDDEN_EVERY]
    return logits
