"""One-line declarations: forms that read and write them alike, and faults that point at the place; knows no form itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.numbers import LARGEST, LONGEST_S, MOST_CHARS, MOST_COUNT, SMALLEST, shown
from lmbench.base.registry import nearest

T = TypeVar("T")
MOST_LINE, AROUND = 10_000, 100
"""Characters of a line, and of what a message shows of it before and after a fault."""
MOST_LEVEL, LEAST_FACTOR = 1e60, 1.0001
"""Of a ramp: an end that is never reached may lie far beyond any rate; smaller factors would make millions of steps."""
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
_PER = re.compile(r"/[a-z]*")
_WORD = re.compile(r"[a-z][a-z-]*")
_FIELD = re.compile(r"\{(\w+):(\w+)\}")
SECONDS: Mapping[str, float] = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PER: Mapping[str, float] = {"": 1.0, "/s": 1.0, "/min": 60.0, "/h": 3600.0}
"""What rates are divided by; a rate without a unit is per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A clause that may be left out: its template, and the values it then stands for."""

    template: str
    default: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Generic[T]):
    """One way to write a T on a line: `word`, then `template`, then options in any order, between commas.

    A template holds words and fields {name:kind}, the kind one of KINDS; its fields and the options' become the arguments of
    `make`. `given` turns a value back into fields, or into None when this is not its form. An empty `word` is for a line
    that begins with a number.
    """

    word: str
    template: str
    make: Callable[..., T]
    given: Callable[[Any], Mapping[str, Any] | None]
    options: tuple[Option, ...] = ()


def made_of(noun: type) -> Callable[[Any], Mapping[str, Any] | None]:
    """`given` for a dataclass whose fields have the names of the template's."""
    names = tuple(getattr(noun, "__dataclass_fields__", ()))
    return lambda value: {name: getattr(value, name) for name in names} if type(value) is noun else None


def read(forms: Sequence[Form[T]], text: str, *, key: str) -> T:
    """What `text` declares; raises ConfigError, with a caret under the place and what was expected there."""
    if len(text) > MOST_LINE:
        found, expected = f"{len(text)} characters", f"one line of at most {MOST_LINE}"
        raise ConfigError([Problem(file=key, line=None, key="line", found=found, expected=expected)])
    line = _Line(text)
    word = line.take(_WORD) or ""
    body = line.at
    misses: list[_Miss] = []
    for form in forms:
        if form.word != word:
            continue
        line.at = body
        try:
            return _read_form(form, line)
        except _Miss as miss:
            misses.append(miss)
    if not misses:
        words = [form.word for form in forms if form.word]
        example = "one of " if all(form.word for form in forms) else "a number or one of "
        misses.append(_Miss(0, f"{example}{', '.join(dict.fromkeys(words))}", hint=nearest(word, words)))
    raise _pointed(text, key, misses)


def write(forms: Sequence[Form[T]], value: T) -> str:
    """The line that `read` turns into `value`; raises ValueError when no form can say all of it."""
    for form in forms:
        given = form.given(value)
        if given is None:
            continue
        clauses = [f"{form.word} {_filled(form.template, given)}".strip()]
        for option in form.options:
            if any(given[name] != option.default for name, _ in _FIELD.findall(option.template)):
                clauses.append(_filled(option.template, given))
        text = ", ".join(clauses)
        if read(forms, text, key="written") == value:
            return text
    raise ValueError(f"found {value}; expected one that a single line can say; declare it in code instead")


class _Miss(Exception):
    """Something else than `expected` at a place; caught by `read`."""

    def __init__(self, at: int, expected: str, *, found: str = "", hint: str = "", reach: int | None = None) -> None:
        super().__init__(expected)
        self.at, self.expected, self.found, self.hint = at, expected, found, hint
        self.reach = at if reach is None else reach
        """How far the text had been understood; beyond `at` when its values do not fit together."""


@dataclass(slots=True)
class _Line:
    """A text and how far it has been read."""

    text: str
    at: int = 0

    def ends(self) -> bool:
        """Whether nothing is left but spaces, which are passed over."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at == len(self.text)

    def take(self, pattern: re.Pattern[str] | str) -> str | None:
        """What matches here, after spaces; a plain word only where it ends."""
        self.ends()
        if isinstance(pattern, str):
            pattern = re.compile(re.escape(pattern) + (r"(?![a-z])" if pattern.isalpha() else ""))
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match.group()

    def miss(self, expected: str, at: int | None = None) -> NoReturn:
        raise _Miss(self.at if at is None else at, expected)

    def number(self, expected: str, fits: Callable[[float], bool], units: Mapping[str, float] | None = None) -> float:
        """The number here in SI, its unit one of `units` (SECONDS or PER) where there are any, if it `fits`."""
        text = self.take(_NUMBER)
        at = self.at - len(text or "")
        value = math.nan if text is None or len(text) > MOST_CHARS else float(text)
        if units is not None and text is not None:
            unit = self.take(_PER if units is PER else _WORD) or ""
            if unit not in units:
                self.miss(f"a unit: {', '.join(filter(None, units))}", self.at - len(unit))
            value = value / units[unit] if units is PER else value * units[unit]
        if not (math.isfinite(value) and fits(value)):
            self.miss(expected, at)
        return value

    def series(self, one: Callable[[_Line], T]) -> tuple[T, ...]:
        """One or more between commas."""
        values = [one(self)]
        while self.take(","):
            values.append(one(self))
        return tuple(values)


def _read_form(form: Form[T], line: _Line) -> T:
    start = line.at
    given = _read_template(form.template, line)
    left = list(form.options)
    while not line.ends():
        comma = line.take(",")
        option = next((one for one in left if _starts(one.template, line)), None)
        if option is None:
            wanted = [repr(_parts(one.template)[0]) for one in left]
            line.miss(" or ".join(wanted if comma else [*wanted, "the end"]) or "the end")
        left.remove(option)
        given |= _read_template(option.template, line)
    for option in left:
        given |= {name: option.default for name, _ in _FIELD.findall(option.template)}
    try:
        return form.make(**given)
    except ValueError as fault:
        found, _, expected = str(fault).removeprefix("found ").partition("; expected ")
        raise _Miss(start, expected or "values that fit together", found=found, reach=line.at) from fault


def _starts(template: str, line: _Line) -> bool:
    before = line.at
    found = line.take(str(_parts(template)[0])) is not None
    line.at = before
    return found


def _read_template(template: str, line: _Line) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in _parts(template):
        if isinstance(part, tuple):
            given[part[0]] = KINDS[part[1]].read(line)
        elif line.take(part) is None:
            line.miss(repr(part))
    return given


def _parts(template: str) -> list[str | tuple[str, str]]:
    """Words as text, fields as (name, kind)."""
    parts: list[str | tuple[str, str]] = []
    for text in re.findall(r"\{[^}]*\}|,|[^\s{,]+", template):
        found = _FIELD.fullmatch(text)
        parts.append((found[1], found[2]) if found else text)
    return parts


def _filled(template: str, given: Mapping[str, Any]) -> str:
    return _FIELD.sub(lambda found: KINDS[found[2]].write(given[found[1]]), template)


def _pointed(text: str, key: str, misses: Sequence[_Miss]) -> ConfigError:
    """What was expected at the furthest place that any form came to."""
    far = max(misses, key=lambda miss: miss.reach)
    expected = " or ".join(dict.fromkeys(miss.expected for miss in misses if miss.reach == far.reach))
    rest = re.match(r"\s*([^\s,]+|,)?", text[far.at :])
    found = far.found or (shown(rest[1]) if rest and rest[1] else "the end")
    at = far.at + (len(rest[0]) - len(rest[1]) if rest and rest[1] else 0)
    first = max(0, at - AROUND)
    hint = "\n".join([far.hint, f"    {text[first : at + AROUND]}", f"    {' ' * (at - first)}^"])
    return ConfigError([Problem(file=key, line=None, key=f"column {at + 1}", found=found, expected=expected, hint=hint)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of field: how it is read and written."""

    read: Callable[[_Line], Any]
    write: Callable[[Any], str]


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _numbers(expected: str, fits: Callable[[float], bool]) -> Kind:
    return Kind(read=lambda line: line.number(expected, fits), write=_plain)


def _counts(expected: str) -> Kind:
    def fits(value: float) -> bool:
        return 1 <= value <= MOST_COUNT and value.is_integer()

    return Kind(read=lambda line: int(line.number(expected, fits)), write=str)


def _rates(expected: str, fits: Callable[[float], bool]) -> Kind:
    return Kind(read=lambda line: line.number(expected, fits, PER), write=_plain)


def _durations(expected: str, fits: Callable[[float], bool]) -> Kind:
    return Kind(read=lambda line: line.number(expected, fits, SECONDS), write=_duration)


def _duration(seconds: float) -> str:
    """In the largest unit of which it is a whole number."""
    for unit in ("h", "m", "s", "ms"):
        count = seconds / SECONDS[unit]
        if count.is_integer() and 0 < count < 1e6 and count * SECONDS[unit] == seconds:
            return f"{int(count)}{unit}"
    return f"{_plain(seconds)}s"


def _share(line: _Line) -> float:
    at = line.at
    value = line.number("a share above 0 such as 5% or 0.05", lambda value: value > 0)
    value = value / 100 if line.take("%") else value
    if value >= 1:
        line.miss("a share below 1 such as 5% or 0.05", at)
    return value


def _percent(value: float) -> str:
    text = _plain(round(value * 100, 10))
    return f"{text}%" if float(text) / 100 == value else _plain(value)


def _range(line: _Line) -> tuple[int, int]:
    low = KINDS["count"].read(line)
    return low, KINDS["count"].read(line) if line.take("..") else low


def _series(kind: Kind) -> Kind:
    return Kind(read=lambda line: line.series(kind.read), write=lambda values: ", ".join(map(kind.write, values)))


_RATE = _rates("a rate above 0 such as 20, 20/s or 90/min", lambda value: SMALLEST <= value <= LARGEST)
_COUNT = _counts("a whole number above 0")
KINDS: Mapping[str, Kind] = {
    "rate": _RATE,
    "rates": _series(_RATE),
    "level": _rates("a rate such as 0, 20/s or 90/min", lambda value: value == 0 or SMALLEST <= value <= MOST_LEVEL),
    "count": _COUNT,
    "counts": _series(_COUNT),
    "range": Kind(read=_range, write=lambda ends: str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}..{ends[1]}"),
    "duration": _durations("a duration such as 500ms, 30s, 10m or 2h", lambda value: SMALLEST <= value <= LONGEST_S),
    "pause": _durations("a duration such as 0s, 500ms or 30s", lambda value: 0 <= value <= LONGEST_S),
    "factor": _numbers("a factor above 1 such as 1.5", lambda value: LEAST_FACTOR <= value <= MOST_COUNT),
    "number": _numbers("a number above 0", lambda value: SMALLEST <= value <= LARGEST),
    "share": Kind(read=_share, write=_percent),
    "path": Kind(read=lambda line: line.take(re.compile(r"\S.*\S|\S")) or line.miss("a file"), write=str),
}
