"""Whether the text and weights a case names are on this machine, asked without loading them."""

from __future__ import annotations

from pathlib import Path

from lmbench.data.corpora import NAMED
from lmbench.data.fetch import fetched
from lmbench.data.pretrained import smollm2_folder
from lmbench.plan.case import Case


def missing_data(case: Case) -> str | None:
    """'reason; remedy' when something must be fetched or is not where the suite says, else None."""
    return _missing_text(str(case.corpus.get("source"))) or _missing_weights(case.model.options.get("path"))


def _missing_text(source: str) -> str | None:
    if source == "shakespeare":
        return None if fetched(source) else "the corpus 'shakespeare' is not in the cache; run `lmbench fetch shakespeare`"
    if source in NAMED or Path(source).exists():
        return None
    return f"the corpus {source} does not exist; correct `corpus` in the suite or put the text there"


def _missing_weights(path: object) -> str | None:
    if path == "smollm2":
        return None if smollm2_folder() else "SmolLM2-135M is not in the cache; run `lmbench fetch smollm2`"
    if not isinstance(path, str) or Path(path).exists():
        return None
    return f"the model file or folder {path} does not exist; correct `path` in the suite or put it there"
