"""Fine-tuning of a pruned model: trained on the corpus once, kept by digest, without bringing back what was removed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base.cache import build_for_now, build_once
from lmbench.base.errors import ConfigError
from lmbench.base.seams import LanguageModel
from lmbench.compress.changed import with_module
from lmbench.compress.options import problem
from lmbench.compress.training import LEARNING_RATE, AfterStep, train
from lmbench.data.corpora import Corpus

OPTIONS = ("fine_tune_steps", "learning_rate")
_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How a pruned model is trained on."""

    corpus: Corpus
    steps: int
    seed: int
    learning_rate: float

    @property
    def lineage(self) -> dict[str, object]:
        """All that the weights depend on beside the model."""
        return {
            "fine_tune_steps": self.steps,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "corpus": self.corpus.digest,
        }


def fine_tuning(method: str, options: Mapping[str, Any], corpus: Corpus | None, seed: int) -> FineTuning | None:
    """What `options` ask for: `fine_tune_steps` (0) at a peak `learning_rate` (that of training.py); None without steps.

    ConfigError for impossible values, a learning rate that nothing uses, and steps without a corpus to make them on.
    """
    steps, rate = options.get("fine_tune_steps", 0), options.get("learning_rate")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError([problem(method, "fine_tune_steps", repr(steps), "a whole number of at least 0")])
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1):
        raise ConfigError([problem(method, "learning_rate", repr(rate), "a number above 0 and below 1, such as 3e-4")])
    if not steps:
        if rate is not None:
            raise ConfigError([problem(method, "learning_rate", f"{rate!r} without fine_tune_steps", "both or neither")])
        return None
    if corpus is None:
        raise ConfigError([problem(method, "fine_tune_steps", f"{steps} steps without a corpus", "a corpus to train on")])
    return FineTuning(corpus=corpus, steps=steps, seed=seed, learning_rate=float(rate or LEARNING_RATE))


def fine_tuned(pruned: LanguageModel, tuning: FineTuning, after_step: AfterStep | None = None) -> LanguageModel:
    """`pruned` with its module trained in place, or given the weights that the same training had before.

    `after_step` gets the module after each optimizer step and must hold what pruning promised.
    """
    from safetensors.torch import load_model, save_model

    lineage = {"method": "fine-tune", **tuning.lineage, "tokenizer": pruned.tokenizer.digest}
    tuned = with_module(pruned, pruned.module, lineage)
    key = {
        **lineage,
        "weights": tuned.facts.weights_digest,
        "code": tuned.facts.code_digest,
        "torch": importlib.metadata.version("torch"),
    }

    def build(folder: Path) -> None:
        how: dict[str, Any] = {"steps": tuning.steps, "seed": tuning.seed, "learning_rate": tuning.learning_rate}
        train(pruned.module, pruned, tuning.corpus, after_step=after_step, **how)
        save_model(pruned.module, str(folder / _FILE))

    # a user's own code can change without its weights' digest telling, so nothing of it is kept for other processes
    once = build_for_now if pruned.facts.code_digest is None else build_once
    load_model(tuned.module, once("fine-tuned", key, build) / _FILE)
    return tuned
