"""Bits per byte: 8 for a uniform choice of bytes, equal for two cuts of one distribution, and None where bytes are not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.data import corpora, tokenizers
from lmbench.data.text_bytes import INSIDE, NOT_BACK, text_bytes
from lmbench.data.tokenizers import ByteTokenizer, characters
from lmbench.measure.clock import CLOCK
from lmbench.plan.case import Case, Choice
from lmbench.run.build import CaseBuilder
from lmbench.subject.fidelity import bits_per_byte
from lmbench.subject.protocol import Fidelity

UNK = {"unk_token": "<unk>"}
TEXT = "naïve café: 日本語 and ASCII\n" * 40


@dataclass(frozen=True)
class Pairs:
    """Two bytes to a token."""

    vocab_size: int = 65536
    digest: str = "pairs"

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        return [256 * one + two for one, two in zip(data[::2], data[1::2], strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(bytes(divmod(one, 256)) for one in ids).decode("utf-8", errors="replace")


def test_a_uniform_model_over_bytes_has_eight_however_they_are_grouped() -> None:
    text = "an even number of bytes!" * 4
    for tokenizer in (ByteTokenizer(), Pairs()):
        ids = tokenizer.encode(text)
        size = text_bytes(tokenizer, text, ids)
        assert isinstance(size, int)
        assert bits_per_byte(tokenizer.vocab_size, len(ids) - 1, size) == pytest.approx(8.0)


@given(st.text(min_size=2, max_size=60), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=60)
def test_two_cuts_of_one_distribution_agree(text: str, first: int, data: st.DataObject) -> None:
    """Independent characters with a probability each: cut into characters or into bytes, the text's likelihood is the same."""
    alphabet = sorted(set(text))
    weights = np.array([data.draw(st.integers(1, 9)) for _ in alphabet], dtype=float)
    nats = dict(zip(alphabet, -np.log(weights / weights.sum()), strict=True))
    loss = sum(nats[one] for one in text[first:])
    kept = len(text) - first
    if kept < 1:
        return
    by_character = characters(text)
    found = text_bytes(by_character, text, by_character.encode(text), first)
    lead = len(text[:first].encode())
    by_byte = text_bytes(ByteTokenizer(), text, ByteTokenizer().encode(text), lead)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert found == by_byte == len(text[first:].encode())
        assert isinstance(by_byte, int)
        assert bits_per_byte(math.exp(loss / kept), kept, by_byte) == pytest.approx(
            bits_per_byte(math.exp(loss / by_byte), by_byte, by_byte)
        )


def test_byte_level_pairs_count_bytes_within_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    tokenizer = tokenizers.bpe(corpora.split("t", TEXT), 260)
    ids = tokenizer.encode(TEXT)
    whole = len(TEXT.encode())
    counts = [text_bytes(tokenizer, TEXT, ids[:end], 0) for end in range(1, len(ids) + 1)]
    assert all(isinstance(one, int) for one in counts), "also where a character is cut"
    assert counts == sorted(counts, key=int) and counts[-1] == whole
    assert text_bytes(tokenizer, TEXT, ids, len(ids) - 3) == whole - int(counts[len(ids) - 4])


def library(tmp_path: Path, model: Any, **parts: Any) -> tokenizers.FileTokenizer:
    from tokenizers import Tokenizer

    made = Tokenizer(model)
    for name, part in parts.items():
        setattr(made, name, part)
    made.save(str(tmp_path / "tokenizer.json"))
    return tokenizers.FileTokenizer(tmp_path / "tokenizer.json")


def test_sentence_pieces_and_one_that_changes_the_text(tmp_path: Path) -> None:
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    pieces = ["<unk>", "\N{LOWER ONE EIGHTH BLOCK}caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{LOWER ONE EIGHTH BLOCK}au"]
    vocab = models.WordLevel({piece: number for number, piece in enumerate(pieces)}, **UNK)
    metaspace = {"pre_tokenizer": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()}
    plain = library(tmp_path, vocab, **metaspace)
    assert text_bytes(plain, "café au", plain.encode("café au"), 0) == len("café au".encode())
    assert text_bytes(plain, "café au", plain.encode("café au"), 1) == 3
    assert text_bytes(plain, "café ox", plain.encode("café ox"), 0) == NOT_BACK
    lowered = library(tmp_path, vocab, normalizer=normalizers.Lowercase(), **metaspace)
    assert text_bytes(lowered, "Café au", lowered.encode("Café au"), 0) == NOT_BACK
    fallback = models.BPE({"<unk>": 0, "<0xC3>": 1, "<0xA9>": 2, "c": 3}, [], **UNK, byte_fallback=True)
    bytes_too = library(tmp_path, fallback, decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]))
    ids = bytes_too.encode("cé")
    assert text_bytes(bytes_too, "cé", ids, 1) == 2
    assert text_bytes(bytes_too, "cé", ids[:-1], 1) == INSIDE


def test_unknown_characters_are_no_text() -> None:
    known = characters("abc")
    assert text_bytes(known, "abcab", known.encode("abcab")) == 4
    assert text_bytes(known, "abxab", known.encode("abxab")) == NOT_BACK


def fidelity(source: Path, model: str, backend: str, **options: str) -> Fidelity:
    """Of a model on the text of a file."""
    case = Case(
        suite="s",
        name="n",
        workload="scoring",
        params={},
        model=Choice(name="m", kind=model, options=options),
        backend=Choice(name="b", kind=backend),
        compression=Choice(name="none", kind="none"),
        corpus={"source": str(source)},
    )
    built = CaseBuilder(case, CLOCK, lambda _: None).subject()
    built.close()
    return built.fidelity


def test_a_subject_has_it_beside_its_perplexity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "t.txt"
    source.write_text(TEXT * 40, encoding="utf-8")
    of_bytes = fidelity(source, "n-gram", "torch", tokenizer="bytes")
    assert of_bytes.values["bits_per_byte"] == pytest.approx(math.log2(of_bytes.values["perplexity"] or 0.0))
    of_characters = fidelity(source, "n-gram", "torch", tokenizer="characters")
    bits, perplexity = of_characters.values["bits_per_byte"], of_characters.values["perplexity"]
    assert bits is not None and perplexity is not None
    assert 0 < bits < math.log2(perplexity), "a character is more than a byte here"
    folded = fidelity(source, "fake", "fake")
    assert (folded.values["bits_per_byte"], folded.reasons["bits_per_byte"]) == (None, NOT_BACK)
