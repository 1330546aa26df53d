"""Keys of a suite become names of cases, files and rows: what cannot be printed is refused where it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmbench.base.errors import Problem
from lmbench.base.printing import one_line
from lmbench.suite.document import Document, KeyPath

EXPECTED = "letters, digits and signs that can be printed"


def character_problems(document: Document, file: str) -> list[Problem]:
    """Keys and tags with control characters, marks of direction or half characters, and a file name with such."""
    found = []
    if not file.isprintable():
        found.append(Problem(file=one_line(file), line=None, key="the file's name", found=ascii(file), expected=EXPECTED))
    for path, text in _names(document.data, ()):
        if not text.isprintable():
            place = document.place(path, file)
            key = one_line(".".join(map(str, path)))
            found.append(Problem(file=one_line(place.file), line=place.line, key=key, found=ascii(text), expected=EXPECTED))
    return found


def _names(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), str(key)
            yield from _names(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, str) and path and path[-1] == "tags":
                yield (*path, index), inner
            yield from _names(inner, (*path, index))
