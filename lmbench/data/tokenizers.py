"""Text to token ids and back: bytes, characters, byte-level BPE trained on the corpus, or a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmbench.base.cache import build_once
from lmbench.base.digest import digest, digest_bytes
from lmbench.base.errors import ConfigError, Problem
from lmbench.base.reading import read_bytes
from lmbench.base.registry import nearest
from lmbench.base.seams import Tokenizer
from lmbench.data.corpora import CORPUS_BYTES, Corpus

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
KINDS = ("bytes", "characters", "bpe", "file")
DEFAULT_BPE_VOCAB = 2048
_RECIPE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTokenizer:
    """UTF-8 bytes: 256 ids, no training, every text round-trips."""

    @property
    def vocab_size(self) -> int:
        return 256

    @property
    def digest(self) -> str:
        return digest({"tokenizer": "bytes"})

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text; byte sequences that are not UTF-8 become U+FFFD."""
        return bytes(ids).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterTokenizer:
    """The characters of a training text in code-point order, after id 0 for every other character."""

    alphabet: tuple[str, ...]
    ids: Mapping[str, int] = field(repr=False, compare=False)

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet)

    @property
    def digest(self) -> str:
        return digest({"tokenizer": "characters", "alphabet": list(self.alphabet)})

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(character, 0) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text; id 0 becomes U+FFFD."""
        return "".join(self.alphabet[number] for number in ids)


class FileTokenizer:
    """A tokenizer.json read by the `tokenizers` library; no special tokens are added when encoding."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Library

        try:
            content = read_bytes(path, CORPUS_BYTES)
            self._library = Library.from_buffer(content)
        except (OSError, ValueError) as fault:
            raise _wrong(f"{path}, which cannot be read ({fault})", "a tokenizer.json of the `tokenizers` library") from fault
        self._digest = digest_bytes(content)

    @property
    def vocab_size(self) -> int:
        return int(self._library.get_vocab_size(with_added_tokens=True))

    @property
    def digest(self) -> str:
        return self._digest

    def encode(self, text: str) -> list[int]:
        return list(self._library.encode(text, add_special_tokens=False).ids)

    def save(self, path: Path) -> None:
        """Write it as a tokenizer.json."""
        self._library.save(str(path))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._library.decode(list(ids), skip_special_tokens=False))

    def byte_count(self, ids: Sequence[int]) -> int | None:
        """Bytes that the ids stand for; None where its tokens are not written as bytes, one character for each."""
        from tokenizers import pre_tokenizers

        names = [self._library.id_to_token(number) or "" for number in ids]
        alphabet = set(pre_tokenizers.ByteLevel.alphabet())
        if not self._of_bytes or not all(name and alphabet.issuperset(name) for name in names):
            return None
        return sum(map(len, names))

    @property
    def _of_bytes(self) -> bool:
        decoder = json.loads(self._library.to_str()).get("decoder") or {}
        return any(part.get("type") == "ByteLevel" for part in (decoder, *decoder.get("decoders", ())))


def build(spec: str | Mapping[str, Any], corpus: Corpus) -> Tokenizer:
    """A tokenizer from 'bytes', 'characters', 'bpe', 'bpe-4096', the path of a tokenizer.json, or a mapping {'kind': ...,
    'vocab_size': n (bpe), 'path': p (file)}.

    Trained ones see the training text only. Raises ConfigError for what cannot be understood.
    """
    declared = _declared(spec) if isinstance(spec, str) else dict(spec)
    kind = declared.pop("kind", None)
    takes = {"bpe": {"vocab_size"}, "file": {"path"}}.get(str(kind), set())
    if kind not in KINDS:
        raise _wrong(repr(kind), f"one of {', '.join(KINDS)}", nearest(str(kind), KINDS))
    if extra := sorted(set(declared) - takes):
        raise _wrong(f"keys {extra} for kind {kind!r}", f"{sorted(takes) or 'no further key'}")
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "characters":
        return characters(corpus.train_text)
    if kind == "file":
        return from_file(Path(str(declared.get("path", "tokenizer.json"))))
    return bpe(corpus, declared.get("vocab_size", DEFAULT_BPE_VOCAB))


def _declared(spec: str) -> dict[str, Any]:
    """One word as the mapping it stands for."""
    if spec.endswith(".json"):
        return {"kind": "file", "path": spec}
    kind, _, size = spec.partition("-")
    return {"kind": kind, "vocab_size": int(size)} if kind == "bpe" and size.isdecimal() else {"kind": spec}


def characters(text: str) -> CharacterTokenizer:
    """The character tokenizer of `text`."""
    alphabet = (UNKNOWN, *sorted(set(text) - {UNKNOWN}))
    return CharacterTokenizer(alphabet=alphabet, ids={character: number for number, character in enumerate(alphabet)})


def bpe(corpus: Corpus, vocab_size: int) -> Tokenizer:
    """Byte-level BPE of `vocab_size` ids (at least 256) trained on the training text, once; every text round-trips.

    A small corpus may run out of pairs to merge, then the vocabulary is smaller than asked.
    """
    if not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or vocab_size < 256:
        raise _wrong(f"vocab_size {vocab_size!r}", "a whole number >= 256 (one id per byte, then merges)")
    key = {"kind": "bpe", "vocab_size": vocab_size, "text": digest_bytes(corpus.train_text.encode()), "recipe": _RECIPE}
    folder = build_once("tokenizer", key, lambda folder: _train_bpe(corpus.train_text, vocab_size, folder))
    return FileTokenizer(folder / "tokenizer.json")


def from_file(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json."""
    return FileTokenizer(path)


def _train_bpe(text: str, vocab_size: int, folder: Path) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, initial_alphabet=alphabet)
    library.train_from_iterator(text.splitlines(keepends=True), trainer)
    library.save(str(folder / "tokenizer.json"))


def _wrong(found: str, expected: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(file="tokenizer", line=None, key="tokenizer", found=found, expected=expected, hint=hint)])
