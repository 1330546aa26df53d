"""The model a server runs: its tokenizer, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base.entry import ENDPOINT
from lmbench.base.errors import ConfigError, Unavailable
from lmbench.base.registry import MODELS, resolve
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models import endpoint

TEXT = "def answer() -> int:\n    return 42  # naïve\n"


@pytest.mark.parametrize("kind", ["bytes", "characters", "bpe"])
def test_a_tokenizer_of_the_house_writes_what_it_reads(kind: str, corpus: Corpus) -> None:
    made = endpoint.build("m", {"tokenizer": kind, "url": "http://127.0.0.1"}, corpus, 3)
    assert (made.name, made.form) == ("m", ENDPOINT)
    plain = TEXT if kind != "characters" else TEXT.replace("ï", "i")
    assert made.tokenizer.decode(made.tokenizer.encode(plain)) == plain
    assert made.tokenizer.digest == tokenizers.build(kind, corpus).digest


def test_bytes_are_the_default_and_the_registry_knows_it(corpus: Corpus) -> None:
    assert resolve(MODELS["endpoint"].target) is endpoint.build
    assert MODELS["endpoint"].form == ENDPOINT
    assert endpoint.build("m", {}, corpus, 0).tokenizer.encode("a") == [97]


def test_a_tokenizer_file_is_read(tmp_path: Path, corpus: Corpus) -> None:
    tokenizers_ = pytest.importorskip("tokenizers")
    words = tokenizers_.Tokenizer(tokenizers_.models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))  # noqa: S106 - it is a word
    words.pre_tokenizer = tokenizers_.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    words.save(str(path))
    assert endpoint.build("m", {"tokenizer": str(path)}, corpus, 0).tokenizer.encode("one two one") == [1, 2, 1]


def test_a_model_that_was_not_fetched_is_unavailable_with_the_remedy(corpus: Corpus) -> None:
    with pytest.raises(Unavailable, match="run `lmbench fetch smollm2`"):
        endpoint.build("m", {"tokenizer": "smollm2"}, corpus, 0)


def test_an_unknown_tokenizer_is_a_fault_of_the_configuration(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match="bites"):
        endpoint.build("m", {"tokenizer": "bites"}, corpus, 0)
