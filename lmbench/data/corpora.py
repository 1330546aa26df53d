"""Text to measure on: named corpora, files and folders, split into training and validation text by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base.digest import digest_bytes
from lmbench.base.errors import ConfigError, LmbenchError, Problem, Unavailable, Unreadable
from lmbench.base.numbers import shown
from lmbench.base.reading import is_file, is_folder, read_text
from lmbench.base.registry import nearest
from lmbench.data.fetch import fetched

NAMED = ("python-reference", "shakespeare")
TEXT_SUFFIXES = (".md", ".txt")
TRAIN_SHARE = 0.9
CORPUS_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text and its digest. The first nine tenths (to a line end) train, the rest validates."""

    name: str
    text: str
    digest: str
    """Of the text in UTF-8."""
    train_text: str
    valid_text: str


def load(declaration: Mapping[str, Any]) -> Corpus:
    """The corpus of {'source': 'python-reference' | 'shakespeare' | path of a text file or of a folder of *.txt and *.md}.

    Raises Unavailable when it must be fetched first, ConfigError when it is missing, empty or not UTF-8 text.
    """
    unknown = sorted(set(declaration) - {"source"})
    source = declaration.get("source")
    if unknown or not isinstance(source, str):
        found = f"keys {sorted(declaration)}" if unknown else repr(source)
        raise _wrong(found, "{'source': text}, with no other key")
    if source == "python-reference":
        return split(source, _python_reference())
    if source == "shakespeare":
        path = fetched("shakespeare")
        if path is None:
            raise Unavailable("the corpus 'shakespeare' is not in the cache", "run `lmbench fetch shakespeare`")
        return split(source, path.read_text(encoding="utf-8"))
    return split(Path(source).name, _text_at(Path(source)))


def split(name: str, text: str) -> Corpus:
    """A corpus of `text`, cut at the last line end within the first nine tenths, or exactly there if there is none."""
    if not text.strip():
        raise _wrong(f"{name!r} without any text", "at least one line of text")
    limit = int(len(text) * TRAIN_SHARE)
    cut = text.rfind("\n", 0, limit) + 1 or limit
    return Corpus(name=name, text=text, digest=digest_bytes(text.encode()), train_text=text[:cut], valid_text=text[cut:])


def _python_reference() -> str:
    """The language reference that ships inside CPython for its help(), topics in alphabetical order."""
    try:
        from pydoc_data.topics import topics
    except ImportError as fault:
        raise LmbenchError(f"this Python has no pydoc_data ({fault}); use a text file as corpus source") from fault
    return "\n\n".join(topics[key].strip("\n") for key in sorted(topics)) + "\n"


def _text_at(path: Path) -> str:
    if is_folder(path):
        files = sorted(file for file in path.rglob("*") if file.suffix in TEXT_SUFFIXES and file.is_file())
        if not files:
            raise _wrong(f"folder {path} without any *.txt or *.md", "a folder holding text files")
        return "\n".join(_read(file) for file in files)
    if not is_file(path):
        hint = nearest(str(path), NAMED)
        raise _wrong(f"{shown(str(path), 200)}, which does not exist", f"{', '.join(NAMED)}, a text file or a folder", hint)
    return _read(path)


def _read(path: Path) -> str:
    try:
        return read_text(path, CORPUS_BYTES)
    except Unreadable as fault:
        raise _wrong(f"{fault.found} at {path}", fault.expected) from fault


def _wrong(found: str, expected: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(file="corpus", line=None, key="source", found=found, expected=expected, hint=hint)])
