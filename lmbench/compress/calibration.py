"""Real text as token ids, for levels that must see a model's activations before they fix their scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import HIDDEN_EVERY, prompts


def calibration_ids(model: LanguageModel, corpus: Corpus, samples: int, tokens: int, seed: int) -> IntArray:
    """Ids int64 [samples, T] of windows of the training text that begin differently; T is `tokens`, or the model's limit.

    A model that fills in hidden tokens sees them hidden as in its evaluation. LmbenchError when the text is too short.
    """
    text = np.asarray(model.tokenizer.encode(corpus.train_text), dtype=np.int64)
    ids = prompts(text, count=samples, tokens=min(tokens, model.facts.max_tokens), seed=seed)
    if model.facts.mask_id is not None:
        ids[:, ::HIDDEN_EVERY] = model.facts.mask_id
    return ids


def calibrated_on(corpus: Corpus | None, *, samples: int, tokens: int, seed: int) -> Mapping[str, object]:
    """What a lineage keeps of it; together with the model's tokenizer it determines the ids."""
    text = None if corpus is None else {"name": corpus.name, "digest": corpus.digest}
    return {"corpus": text, "samples": samples, "tokens": tokens, "seed": seed}


def require_text(method: str, corpus: Corpus | None) -> Corpus:
    """The corpus itself; ConfigError when there is none."""
    if corpus is None:
        hint = "Name a corpus in the suite"
        raise ConfigError(
            [
                Problem(
                    file=f"compression {method}",
                    line=None,
                    key="corpus",
                    found="none",
                    expected="text to calibrate on",
                    hint=hint,
                )
            ]
        )
    return corpus
