"""What must not be written: the values of secret environment variables, masked in any spelling a text may hold them in.

A variable is secret when its name says so (NAMED), when something declares it (`declare`: an endpoint's `api_key_env` and
`secret_env`), or when its value is a URL with a password. Everything that leaves a process goes through `conceal`: files
(base/files.py), records, the terminal (base/printing.py), pytest's reports, a server's log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from lmbench.base.spellings import Spelling, spelling_of

MASK = "***"
LEAST_CHARS = 6
"""Shorter values stand in a text for other reasons; masking `1` or `none` would make it unreadable."""
LEAST_LINE = 16
"""Lines of so many characters are masked alone too: a log is copied line by line, and a private key has several."""
LONGEST_CHARS = 1 << 16
NAMED = re.compile("KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
PLAIN_VALUES = frozenset(("disabled", "enabled", "default"))
"""Values of switches, whose variables only look secret: TOKENIZERS_PARALLELISM."""
WORD = re.compile(r"[A-Za-z_]+|[\d.eE+-]+")
"""A secret that could be a key or a number of a file: it is masked in texts, never in the syntax around them."""
_USERINFO = re.compile(r"""(?<=://)[^\s/@"'<>\\]+(?=@)""")
_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_IN_QUERY = re.compile(
    r"""([?&;](?:amp;)?[\w.-]*(?:api[_-]?key|token|secret|passw(?:or)?d|signature)=)[^\s&;#"'<>\\]+""", re.IGNORECASE
)
_CREDENTIALS = re.compile(r"""(\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:bearer|basic)\s+)[\w.~+/=-]+""", re.IGNORECASE)
_T = TypeVar("_T")

_declared: set[str] = set()
_given: set[str] = set()


def declare(*names: str | None) -> None:
    """Take the values of these environment variables for secrets from now on."""
    _declared.update(name for name in names if name)


def give(values: Iterable[str]) -> None:
    """Take these values for secrets: a process that writes for another one does not have its variables."""
    _given.update(values)


def too_short(names: Iterable[str | None]) -> list[str]:
    """Those of `names` whose values are too short to be masked."""
    return [name for name in names if name and 0 < len(os.environ.get(name, "")) < LEAST_CHARS]


def values() -> tuple[str, ...]:
    """Every secret value known to this process, the longest first."""
    return tuple(spelling.value for spelling in _known().spellings)


def conceal(text: str, *, syntax: bool = False) -> str:
    """`text` without secrets; with `syntax` a whole file, in which a secret that is a mere word or number stays.

    User names and passwords in URLs, tokens in query strings and authorization headers are masked whatever their value.
    """
    known = _known().spellings
    lowered = text.lower() if known else ""
    for spelling in known:
        if not (syntax and spelling.is_word):
            text = spelling.masked(text, lowered, MASK)
    if "://" in text:
        text = _USERINFO.sub(MASK, text)
    if "=" in text and ("?" in text or "&" in text):
        text = _IN_QUERY.sub(rf"\g<1>{MASK}", text)
    return _CREDENTIALS.sub(rf"\g<1>{MASK}", text) if "uthorization" in text or "UTHORIZATION" in text else text


def concealed(value: _T) -> _T:
    """Plain data (mappings, sequences, texts) without secrets, of the same shape."""
    return cast("_T", _concealed(value))


def _concealed(value: object) -> object:
    if isinstance(value, str):
        return conceal(value)
    if isinstance(value, Mapping):
        return {conceal(key, syntax=True) if isinstance(key, str) else key: _concealed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_concealed(inner) for inner in value]
    if type(value) is tuple:
        return tuple(map(_concealed, value))
    return value


def beginning(text: str, most: int) -> str:
    """The first `most` characters of `text`, concealed before it is cut, so that no part of a secret is left at the end."""
    window = text[: most + 2 * LONGEST_CHARS]
    return conceal(window)[:most]


def ending(text: str, most: int) -> str:
    """The last `most` characters of `text`, likewise."""
    window = text[-(most + 2 * LONGEST_CHARS) :]
    return conceal(window)[-most:]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    environ: Mapping[str, str]
    declared: frozenset[str]
    given: frozenset[str]
    spellings: tuple[Spelling, ...]


_cache: list[_Known] = []


def _known() -> _Known:
    """The secrets of now: looked for again when a variable or a declaration has changed."""
    environ = dict(os.environ)
    kept = _cache[0] if _cache else None
    if kept is not None and kept.environ == environ and kept.declared == frozenset(_declared) and kept.given == frozenset(_given):
        return kept
    found = {environ.get(name, "") for name in _declared} | _given
    found |= {value for name, value in environ.items() if NAMED.search(name) and _secretive(value)}
    found |= {part for value in environ.values() for part in _PASSWORD.findall(value)}
    found |= {line for one in found for line in one.splitlines() if len(line) >= LEAST_LINE and not line.startswith("-----")}
    wanted = sorted((one for one in found if LEAST_CHARS <= len(one) <= LONGEST_CHARS), key=lambda one: (-len(one), one))
    spellings = tuple(_spelling(one, WORD.fullmatch(one) is not None) for one in wanted)
    made = _Known(environ=environ, declared=frozenset(_declared), given=frozenset(_given), spellings=spellings)
    _cache[:] = [made]
    return made


@lru_cache(maxsize=256)
def _spelling(value: str, is_word: bool) -> Spelling:
    return spelling_of(value, is_word=is_word)


def _secretive(value: str) -> bool:
    """Whether the value of a variable that only its name calls secret may be one: no number, switch or path."""
    if value.lower() in PLAIN_VALUES or re.fullmatch(r"[\d.,\s]*", value):
        return False
    return not (value.startswith(("/", "~", "./")) and _exists(value))


def _exists(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
