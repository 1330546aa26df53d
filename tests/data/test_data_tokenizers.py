"""Tokenizers: round trips, determinism, digests, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.base.seams import Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus, split
from lmbench.data.tokenizers import ByteTokenizer, build

CORPUS = split("t", "the quick brown fox jumps over the lazy dog, the end\n" * 40)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return tokenizers.bpe(CORPUS, 280)


@given(st.text())
def test_bytes_round_trip(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= number < tokenizer.vocab_size for number in ids)


@given(text=st.text())
def test_bpe_round_trips_any_text(bpe: Tokenizer, text: str) -> None:
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert all(0 <= number < bpe.vocab_size for number in ids)


@given(st.text(alphabet=sorted(set(CORPUS.train_text))))
def test_characters_round_trip_within_their_alphabet(text: str) -> None:
    tokenizer = build("characters", CORPUS)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unknown_characters_become_id_zero() -> None:
    tokenizer = build("characters", CORPUS)
    assert tokenizer.encode("the ß")[-1] == 0
    assert tokenizer.decode([0]) == "\N{REPLACEMENT CHARACTER}"
    assert tokenizer.vocab_size == len(set(CORPUS.train_text)) + 1


def test_bpe_merges_what_the_training_text_repeats(bpe: Tokenizer) -> None:
    assert bpe.vocab_size == 280
    assert len(bpe.encode(" the the the")) == 3


def test_bpe_is_trained_once_and_the_same_everywhere(bpe: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    again = build({"kind": "bpe", "vocab_size": 280}, CORPUS)
    assert again.digest == bpe.digest
    monkeypatch.setattr(tokenizers, "_train_bpe", lambda *_: pytest.fail("trained twice"))
    assert build({"kind": "bpe", "vocab_size": 280}, CORPUS).digest == bpe.digest


def test_a_word_may_name_the_size(tmp_path: Path, bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    assert build("bpe-280", CORPUS).digest == bpe.digest


def test_a_file_is_a_tokenizer(tmp_path: Path, bpe: Tokenizer) -> None:
    assert isinstance(bpe, tokenizers.FileTokenizer)
    bpe.save(tmp_path / "tokenizer.json")
    read = build({"kind": "file", "path": str(tmp_path / "tokenizer.json")}, CORPUS)
    assert read.encode("the lazy dog") == bpe.encode("the lazy dog")
    assert build(str(tmp_path / "tokenizer.json"), CORPUS).digest == read.digest
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"broken\.json, which cannot be read"):
        tokenizers.from_file(tmp_path / "broken.json")
    with pytest.raises(ConfigError, match="which cannot be read"):
        tokenizers.from_file(tmp_path / "none.json")


def test_digests_follow_the_content(bpe: Tokenizer) -> None:
    other: Corpus = split("t", "other words\n" * 9)
    digests = [build("bytes", CORPUS).digest, build("characters", CORPUS).digest, build("characters", other).digest, bpe.digest]
    assert len(set(digests)) == 4
    assert build("characters", CORPUS).digest == digests[1]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("byte", "Did you mean 'bytes'?"),
        ({"vocab_size": 300}, "found None"),
        ({"kind": "bytes", "vocab_size": 300}, "no further key"),
        ({"kind": "bpe", "vocab_size": 10}, "a whole number >= 256"),
        ({"kind": "bpe", "vocab_size": "many"}, "a whole number >= 256"),
    ],
)
def test_wrong_specs_are_refused(spec: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(spec, CORPUS)
    assert words in str(caught.value)
