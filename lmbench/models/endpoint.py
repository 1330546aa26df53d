"""A model that a server runs: all that is known of it here is its tokenizer, for prompts of known length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base.entry import ENDPOINT
from lmbench.base.errors import Unavailable
from lmbench.base.seams import Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.data.pretrained import smollm2_folder

SMOLLM2 = "smollm2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """No weights, no logits: a LanguageModel by its tokenizer alone, which no engine loads."""

    name: str
    tokenizer: Tokenizer
    form: str = ENDPOINT


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> Served:
    """The tokenizer an endpoint's options name: a built-in kind, 'smollm2' once fetched, or a tokenizer.json."""
    del seed
    kind = str(options.get("tokenizer", "bytes"))
    if kind == SMOLLM2:
        folder = smollm2_folder()
        if folder is None:
            raise Unavailable("SmolLM2-135M is not in the cache", "run `lmbench fetch smollm2`")
        return Served(name=name, tokenizer=tokenizers.from_file(folder / "tokenizer.json"))
    spec = {"kind": "file", "path": str(Path(kind))} if kind.endswith(".json") else kind
    return Served(name=name, tokenizer=tokenizers.build(spec, corpus))
