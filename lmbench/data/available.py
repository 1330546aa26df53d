"""Whether the text and weights a case names were fetched, asked without loading them."""

from __future__ import annotations

from lmbench.data.fetch import fetched
from lmbench.data.pretrained import smollm2_folder
from lmbench.plan.case import Case


def missing_data(case: Case) -> str | None:
    """'reason; remedy' when something must be fetched first, else None."""
    if case.corpus.get("source") == "shakespeare" and fetched("shakespeare") is None:
        return "the corpus 'shakespeare' is not in the cache; run `lmbench fetch shakespeare`"
    if "smollm2" in (case.model.options.get("path"), case.model.options.get("tokenizer")) and smollm2_folder() is None:
        return "SmolLM2-135M is not in the cache; run `lmbench fetch smollm2`"
    return None
