"""Files, JSON and YAML that others wrote: what is taken in, what is refused, in which words and which line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lmbench.base import json_text, numbers, yaml_text
from lmbench.base.errors import LmbenchError, Unreadable
from lmbench.base.reading import exists, inside, is_file, is_folder, read_bytes, read_text
from lmbench.base.typed import made


def test_only_regular_files_of_a_size_are_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert read_text(tmp_path / "a.txt") == "one\ntwo\n"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused = {
        tmp_path / "pipe": "a pipe",
        tmp_path: "a folder",
        Path("/dev/zero"): "a device",
        tmp_path / ("x" * 300): "too long",
        tmp_path / "loop": "symbolic links",
        tmp_path / "a\0b": "a path that cannot be",
        tmp_path / "absent": "No such file",
    }
    for path, words in refused.items():
        with pytest.raises(Unreadable, match=words):
            read_bytes(path)
        assert not is_file(path)
    assert not exists(tmp_path / ("x" * 300))
    assert not is_folder(tmp_path / ("x" * 300))
    with pytest.raises(Unreadable, match=r"a file of 12 bytes; expected at most 3"):
        read_bytes(tmp_path / "a.txt", 3)
    (tmp_path / "b.txt").write_bytes(b"one\n\xff")
    with pytest.raises(Unreadable, match="not UTF-8") as caught:
        read_text(tmp_path / "b.txt")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[" * 5000,
            '{"a":' * 5000,
            "[" * 65 + "]" * 65,
            "NaN",
            "[Infinity]",
            "1e999",
            "9" * 5000,
            '"\\ud800"',
            "{",
            "",
            "\x00",
        ),
        '{"a": ' + '["\\"]", ' * 10 + "[" * 70 + "]" * 70,
    ],
)
def test_json_that_cannot_be_taken_in_is_one_error(text: str) -> None:
    with pytest.raises(Unreadable):
        json_text.loads(text)


def test_json_is_read_as_it_stands_and_brackets_in_texts_do_not_count() -> None:
    value = {"a": ["[[[[" * 100, '\\"]' * 100, 1, 2.5, None, True], "b": {}}
    assert json_text.loads(json.dumps(value)) == value
    assert json_text.loads(b"\xef\xbb\xbf[1]") == [1]
    assert json_text.loads("9" * 30) == 1e30
    assert json_text.loads('[NaN, 1, "\\ud800"]', constants=True)[1:] == [1, "?"]
    assert json_text.constant_in({"a": [1.0, float("inf")]}) == "inf as a.1"
    with pytest.raises(Unreadable, match=r"digits|beyond"):
        json_text.loads("[NaN, " + "9" * 5000 + "]", constants=True)


BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10))


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: 1\nb: &x [*x]\n", "the anchor 'x' within itself", 2),
        ("a: 1\nb: &x {<<: *x}\n", "the anchor 'x' within itself", 2),
        ("[" * 2000, "nesting|within each other", 1),
        ("- " * 2000, "more than 40 lists", 1),
        (BOMB, "more than 50,000 values", 6),
        ("".join(f"a{k}: &a{k} [{f'*a{k - 1}' if k else 'x'}]\n" for k in range(60)), "more than 40 lists", 40),
        ("x" * 1_000_001, "1,000,001 characters", None),
        ("a: [\n", "what is not YAML", 2),
        ("a: 1\n--- \nb: 2\n", "what is not YAML", 2),
    ],
)
def test_yaml_beyond_its_bounds_is_refused_with_the_line(text: str, words: str, line: int | None) -> None:
    with pytest.raises(Unreadable, match=words) as caught:
        yaml_text.compose(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!int abc", "'abc', which is no number"),
        ("a: !!float x", "no number"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("a: !!python/object/apply:os.system [x]", "the tag !!python/object/apply:os.system"),
        ("a: !mine x", "the tag !mine"),
        ("a: !!set {x}", "the tag !!set"),
        ("a: !!binary eA==", "the tag !!binary"),
        ("a: !!bool maybe", "the tag !!bool"),
        ("a: {<<: 5}", "'<<' with something else"),
        ("[a]: 1", "a list or a mapping as a key"),
    ],
)
def test_yaml_holds_plain_values_alone(text: str, words: str) -> None:
    node = yaml_text.compose(text)
    assert node is not None
    with pytest.raises(Unreadable, match=words) as caught:
        yaml_text.plain(node)
    assert caught.value.line == 1


def test_dates_are_text_and_merged_keys_yield() -> None:
    node = yaml_text.compose("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: 2023-99-99\nd: 2023-01-01\ne: .inf\n")
    assert node is not None
    found = {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": "2023-99-99", "d": "2023-01-01", "e": float("inf")}
    assert yaml_text.plain(node) == found


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    number: float
    count: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    flags: dict[str, bool]
    pair: tuple[float, float] | None = None
    anything: Any = None


def test_json_that_fits_becomes_the_noun_and_nothing_else_does() -> None:
    good = {"parts": [{"number": 1, "name": None}], "flags": {"a": True}, "pair": [1, 2.5], "anything": {"x": [1]}}
    assert made(Whole, good) == Whole(parts=(Part(number=1),), flags={"a": True}, pair=(1, 2.5), anything={"x": [1]})
    wrong: list[tuple[object, str]] = [
        (3, "expected an object"),
        ({}, "whole without 'flags'"),
        ({**good, "new": 1}, "whole with 'new'"),
        ({**good, "parts": "x"}, "'x' as whole.parts; expected a list"),
        ({**good, "parts": [{"number": True}]}, "True as whole.parts\\[0\\].number"),
        ({**good, "parts": [{"number": float("nan")}]}, "nan as"),
        ({**good, "parts": [{"number": 1, "count": 2.0}]}, "expected a whole number"),
        ({**good, "flags": {"a": 1}}, "expected true or false"),
        ({**good, "pair": [1]}, "expected a list of 2"),
    ]
    for data, words in wrong:
        with pytest.raises(Unreadable, match=words):
            made(Whole, data)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "1e999", "9" * 400, "true", "٣" * 50])
def test_a_number_is_finite_and_within_its_range(text: str) -> None:
    for read in (numbers.number, numbers.whole, numbers.share):
        with pytest.raises(LmbenchError):
            read(text)
    assert (numbers.number("2.5"), numbers.whole("3"), numbers.share("5%")) == (2.5, 3, 0.05)


def test_a_file_that_another_names_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "models--x" / "snapshots" / "abc"
    blobs = tmp_path / "models--x" / "blobs"
    for place in (folder, blobs):
        place.mkdir(parents=True)
    (blobs / "1").write_text("x")
    (folder / "a").symlink_to("../../blobs/1")
    (folder / "b").write_text("x")
    (tmp_path / "out").write_text("x")
    (folder / "c").symlink_to(tmp_path / "out")
    assert inside(folder, "a") == folder / "a"
    assert inside(folder, "b") == folder / "b"
    for name in ("c", "../b", str(folder / "b"), "", "absent", "x/../b", "..\\b"):
        with pytest.raises(Unreadable):
            inside(folder, name)
