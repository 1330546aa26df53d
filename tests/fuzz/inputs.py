"""Inputs for readers: valid examples with values replaced by hostile ones where a value stands, and with bytes changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.targets import Target

DEEP = 3000
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, 10**30, -(10**19), 1e308, 1e-320, -0.0),
    *(float("nan"), float("inf"), "", "nan", "1e999", "../..", "/etc/passwd", "a" * 300, "\ud800", "\x00", "\x1b[2J", "é"),
    *([], {}, [[]], {"a": 1}, [None], "2023-99-99", "5%", "-5%", "9" * 400),
)
TOKENS = (
    *(b"[" * DEEP, b"{" * DEEP, b'{"a":' * DEEP, b"- " * DEEP, b"(" * DEEP, b"9" * 5000, b"-", b"NaN", b"Infinity", b"1e999"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\x80", b"\xed\xa0\x80", b'"\\ud800"', b"\r", b"\n", b"\n\n", b"\t", b"\\", b'"'),
    *(b"!!int abc", b"!!python/object:os.system x", b"!!binary x", b"!!set {a}", b"2023-99-99", b"<<: 5", b"<<: [*a]"),
    *(b"&a [*a]", b"&a {<<: *a}", b"*a", b"%", b": ", b"- ", b"? ", b"...", b"---", b"|", b">", b".inf", b"0x" + b"f" * 5000),
    *(
        b"..",
        b",",
        b"1e308",
        b"0",
        b"1:" * 60 + b"1",
        b"=",
        b"data: ",
        b"HTTP/1.1 999 X\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
    ),
    b"a0: &a0 [x, x, x, x, x, x, x, x]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (k, k, b", ".join([b"*a%d" % (k - 1)] * 9)) for k in range(1, 9)),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in parsed JSON or YAML."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in parts:
        yield from places(inner, (*path, key))


@st.composite
def _replaced(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to three of its values replaced, renamed, doubled or taken out."""
    changed = deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(changed))[:400]))
        if not path:
            changed = deepcopy(draw(st.sampled_from([changed, [changed], *HOSTILE[:20]])))
            continue
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.integers(0, 5))
        if how == 0:
            del holder[path[-1]]
        elif how == 1 and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "", "a" * 300, "<<", "include", "\x00"]))] = holder.pop(path[-1])
        else:
            holder[path[-1]] = deepcopy(draw(st.sampled_from(HOSTILE)))
    return changed


@st.composite
def _bytes_changed(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 12)))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4), st.just(b""), st.just(data[at:until] * 2)))
        data = data[:at] + new + data[until:]
    return data


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode(errors="surrogatepass")


def _yaml_bytes(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass")


@st.composite
def inputs(draw: st.DrawFn, target: Target) -> bytes:
    """One input of a reader."""
    example = draw(st.sampled_from(target.examples))
    if target.kind == "text" or draw(st.integers(0, 2)) == 0:
        return draw(_bytes_changed(example))
    if target.kind == "yaml":
        return _yaml_bytes(draw(_replaced(yaml.safe_load(example))))
    if target.kind == "json":
        return _json_bytes(draw(_replaced(json.loads(example))))
    lines = [json.loads(line) for line in example.splitlines()]
    changed = draw(_replaced(lines))
    return b"".join(_json_bytes(line) + b"\n" for line in (changed if isinstance(changed, list) else [changed]))
