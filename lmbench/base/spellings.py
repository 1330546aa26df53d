"""The spellings in which a text may hold a value: as it is, escaped for JSON, URLs, HTML or Python, in base64 or hex; pure."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

CUTS = ("...", "\N{HORIZONTAL ELLIPSIS}")
"""What stands where a text was shortened; a piece of the value beside it is masked as well."""
LEAST_PIECE = 6
LEAST_CORE = 3
SURE_RUN = 24
"""Of two runs of so many characters of base64 one is whole, however its lines are broken."""
SLASHES = r"\\{1,8}"
"""As many as escaping four times makes of one; without a bound a text of nothing else would take minutes."""
BASE64_RUN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_BREAK = rf"(?:{SLASHES}[rn]|[\r\n]){{0,4}}"
"""Encoders break long lines, in a text or in one that was escaped."""
_SHORT = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """A pattern, and plain texts one of which stands wherever it matches: most texts hold none, and that is fast to see."""

    hints: tuple[str, ...]
    lowered: bool
    """Whether the hints are those of a text in small letters."""
    pattern: re.Pattern[str]

    def found_in(self, text: str, lowered: str) -> bool:
        where = lowered if self.lowered else text
        return not self.hints or any(hint in where for hint in self.hints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """A value to be looked for; make it with `spelling_of`."""

    value: str
    is_word: bool
    """Whether it could stand in a file's syntax: as a key, or as a number."""
    escaped: Clue
    """Every character as it is or escaped."""
    encoded: tuple[Clue, ...]
    """In base64 (at each of its three offsets) and in hex."""

    def masked(self, text: str, lowered: str, mask: str) -> str:
        """`text` with `mask` wherever the value stands; `lowered` is the text in small letters."""
        if self.escaped.found_in(text, lowered):
            text = self.escaped.pattern.sub(lambda found: _kept_escape(found) + mask, text)
        for clue in self.encoded:
            if clue.found_in(text, lowered):
                text = _without(clue.pattern, text, mask)
        return self._without_pieces(text, mask)

    def _without_pieces(self, text: str, mask: str) -> str:
        """Without the beginnings and endings of the value that stand where a text was shortened."""
        for cut in CUTS:
            place = text.find(cut)
            while place >= 0:
                before = _overlap(self.value, text[max(0, place - len(self.value)) : place])
                after = _overlap_end(self.value, text[place + len(cut) : place + len(cut) + len(self.value)])
                if before or after:
                    kept = text[place + len(cut) + after :]
                    text = text[: place - before] + (mask if before else "") + cut + (mask if after else "") + kept
                    place += (len(mask) - before if before else 0) + (len(mask) if after else 0)
                place = text.find(cut, place + len(cut))
        return text


def spelling_of(value: str, *, is_word: bool) -> Spelling:
    """How `value` may be spelled."""
    content = value.encode(errors="surrogatepass")
    hexed = content.hex()
    return Spelling(
        value=value,
        is_word=is_word,
        escaped=Clue(hints=tuple(_hints(value)), lowered=True, pattern=re.compile("".join(map(_spelled, value)))),
        encoded=(
            *(_encoded(part) for part in _base64(content)),
            Clue(hints=(hexed,), lowered=True, pattern=re.compile(hexed, re.IGNORECASE)),
        ),
    )


def _hints(value: str) -> Iterator[str]:
    """The longest part of `value` that nobody escapes, and its beginning in each way of escaping everything."""
    core = max(re.findall("[a-z0-9]+", value.lower()), key=len, default="")
    if len(core) < LEAST_CORE or not value.isascii():
        return
    yield core
    codes = [ord(char) for char in value[:LEAST_CORE]]
    for form in ("%{:02x}", "{:02x}%", "\\u{:04x}", "\\x{:02x}", "&#{};", "&#x{:x};"):
        yield "".join(form.format(code) for code in codes).rstrip("%")


def _encoded(part: str) -> Clue:
    size = min(len(part) // 2, SURE_RUN)
    return Clue(hints=(part[:size], part[size : 2 * size]), lowered=False, pattern=re.compile(_BREAK.join(map(_spelled, part))))


def _spelled(char: str) -> str:
    """A pattern for one character in any spelling."""
    code = ord(char)
    ways = [SLASHES] if char == "\\" else [re.escape(char)]
    ways += [_cased("%", char.encode(errors="surrogatepass"))]
    ways += [rf"{SLASHES}u{_digits(code, 4)}"] if code < 1 << 16 else [_pair(char)]
    ways += [rf"{SLASHES}x{_digits(code, 2)}"] if code < 256 else []
    ways += [_cased(rf"{SLASHES}x", char.encode(errors="surrogatepass"))] if code > 127 else []
    ways += [rf"&#0{{0,6}}{code};", rf"&#[xX]0{{0,6}}{_digits(code, 1)};", rf"{SLASHES}U{_digits(code, 8)}"]
    ways += [re.escape(html.escape(char))] if html.escape(char) != char else []
    ways += [r"&apos;"] if char == "'" else []
    ways += [r"\+"] if char == " " else []
    ways += [rf"{SLASHES}{re.escape(char)}"] if char in "\"'/`*_[]|~#$&!;()<>{}" else []
    ways += [rf"{SLASHES}{_SHORT[char]}"] if char in _SHORT else []
    return f"(?:{'|'.join(dict.fromkeys(ways))})"


def _cased(lead: str, content: bytes) -> str:
    """Bytes in hex behind `lead`, which may itself have been escaped once more where it is a percent sign."""
    again = lead + "(?:25){0,4}" if lead == "%" else lead
    return "".join(again + _digits(byte, 2) for byte in content)


def _pair(char: str) -> str:
    content = char.encode("utf-16-be", errors="surrogatepass")
    return "".join(rf"{SLASHES}u{_digits(int.from_bytes(content[place : place + 2]), 4)}" for place in (0, 2))


def _digits(code: int, width: int) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{code:0{width}x}")


def _base64(content: bytes) -> Iterator[str]:
    """What is the same in base64 of any text that holds `content`, for each place at which it may begin."""
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + content).decode()
        stable = coded[(0, 2, 3)[offset] : (offset + len(content)) * 8 // 6]
        yield stable
        if (other := stable.replace("+", "-").replace("/", "_")) != stable:
            yield other


def _without(pattern: re.Pattern[str], text: str, mask: str) -> str:
    """Masks each match with the base64 or hex around it: the characters at its ends hold bits of the value too."""
    found, done = [], 0
    for match in pattern.finditer(text):
        begin, end = match.span()
        if begin < done:
            continue
        while begin > done and text[begin - 1] in BASE64_RUN and text[max(begin - 2, 0)] != "\\":
            begin -= 1
        while end < len(text) and text[end] in BASE64_RUN:
            end += 1
        found += [text[done:begin], mask]
        done = end
    return "".join([*found, text[done:]]) if found else text


def _kept_escape(found: re.Match[str]) -> str:
    """The letter behind a backslash: in JSON they stand for one character, which is no part of the value."""
    begin = found.start()
    return found[0][0] if begin and found.string[begin - 1] == "\\" and found[0][0].isalnum() else ""


def _overlap(value: str, before: str) -> int:
    """How many characters of the beginning of `value` end `before`."""
    if len(before) < LEAST_PIECE or before[-LEAST_PIECE:] not in value:
        return 0
    return next((size for size in range(len(value) - 1, LEAST_PIECE - 1, -1) if before.endswith(value[:size])), 0)


def _overlap_end(value: str, after: str) -> int:
    """How many characters of the end of `value` begin `after`."""
    if len(after) < LEAST_PIECE or after[:LEAST_PIECE] not in value:
        return 0
    return next((size for size in range(len(value) - 1, LEAST_PIECE - 1, -1) if after.startswith(value[-size:])), 0)
