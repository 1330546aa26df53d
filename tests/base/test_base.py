"""Errors, digests, files, cache, units, registry: the words everybody shares."""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base import cache, registry
from lmbench.base.catalogue import METRICS
from lmbench.base.digest import digest
from lmbench.base.files import append_line, write_atomically, write_together
from lmbench.base.units import pretty, pretty_change

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_digest_ignores_the_order_of_keys(table: dict[str, object]) -> None:
    assert digest(table) == digest(dict(reversed(table.items())))


def test_digest_tells_values_apart_and_refuses_nan() -> None:
    assert digest({"a": 1}) != digest({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def full_after(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes so many files and is full then."""
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > files:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "run.json"
    write_atomically(target, "old")
    full_after(0, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_text_that_is_no_text_is_written_escaped(tmp_path: Path) -> None:
    write_atomically(tmp_path / "run.json", "a\ud800b")
    assert (tmp_path / "run.json").read_text() == "a\\ud800b"


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    journal = tmp_path / "deep" / "journal.jsonl"
    append_line(journal, "one")
    append_line(journal, "two\n")
    assert journal.read_text() == "one\ntwo\n"


def test_the_cache_builds_once_even_when_asked_twice_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "weights").write_bytes(b"x" * 10)

    threads = [threading.Thread(target=cache.build_once, args=("model", {"a": 1}, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    (entry,) = cache.entries()
    assert (entry.kind, entry.key, entry.path.joinpath("weights").stat().st_size) == ("model", {"a": 1}, 10)
    assert cache.clear("other") == 0
    assert cache.clear("model") == entry.size_bytes
    assert list(cache.entries()) == []


def test_a_build_that_fails_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        cache.build_once("model", {"a": 1}, build)
    assert list(cache.entries()) == []
    assert [path for path in (tmp_path / "model").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.5 s"),
        (2.5e-7, "s", "250 ns"),
        (0.0, "s", "0 ns"),
        (3 << 30, "bytes", "3 GiB"),
        (512.0, "bytes", "512 B"),
        (123456.0, "count", "123,456"),
        (1.97e11, "FLOP/s", "197 GFLOP/s"),
        (0.5, "1", "0.5"),
        (None, "s", "-"),
        (float("nan"), "s", "-"),
    ],
)
def test_units_read_as_a_person_would_write_them(value: float | None, unit: str, shown: str) -> None:
    assert pretty(value, unit) == shown


def test_changes_are_signed() -> None:
    assert [pretty_change(value) for value in (1.05, 0.5, None)] == ["+5.0 %", "-50.0 %", "-"]


@pytest.mark.parametrize("axis", ["MODELS", pytest.param("COMPRESSIONS", marks=needs_torch), "BACKENDS", "WORKLOADS"])
def test_every_registered_target_exists(axis: str) -> None:
    for name, entry in getattr(registry, axis).items():
        for target in filter(None, (entry.target, entry.trainer, entry.exporter, entry.source, entry.check, entry.options)):
            module, _, attribute = target.partition(":")
            spec = importlib.util.find_spec(module)
            assert spec is not None, f"{name}: no module {module}"
            if all(importlib.util.find_spec(need.module) for need in entry.needs):
                assert callable(registry.resolve(target)), f"{name}: {target} is not callable"
            else:  # what it imports is not installed: its source must define it all the same
                assert spec.origin is not None
                body = ast.parse(Path(spec.origin).read_text()).body
                assert attribute in [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)], target


def test_near_matches_are_offered() -> None:
    assert registry.nearest("onnxruntme", registry.BACKENDS) == "Did you mean 'onnxruntime'?"
    assert registry.nearest("zzz", registry.BACKENDS) == ""


def test_every_gated_metric_has_a_tolerance_and_a_direction() -> None:
    for name, spec in METRICS.items():
        assert spec.kind in {"time", "rate", "exact", "memory", "info"}, name
        if spec.kind in {"exact", "memory"}:
            assert spec.tolerance is not None, name
            assert spec.better in {"lower", "higher"}, name
        if name.endswith("_s"):
            assert spec.unit in {"s"} or spec.unit.endswith("/s"), name


def test_files_that_belong_together_are_replaced_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.md", tmp_path / "a.html"
    assert write_together({first: "old", second: b"old"}) == [first, second]
    full_after(1, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        write_together({first: "new", second: "new"})
    assert (first.read_text(), second.read_text()) == ("old", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.md"]
