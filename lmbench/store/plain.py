"""Plain pytest-benchmark tests of a stored file: what lmbench compares of results that it did not measure itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lmbench.store.runs import damaged, read_json_file

MACHINE_KEYS = ("machine_class", "machine", "system")
CPU_KEYS = ("brand_raw", "count", "arch")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTest:
    """One benchmark test of one run: its median time per iteration, in seconds."""

    node_id: str
    median_s: float
    rounds: int = 0
    machine: Mapping[str, str] = field(default_factory=dict)
    """What is known of the machine; where two tests differ in a key that both have, their times do not compare."""


def read_tests(path: Path) -> tuple[PlainTest, ...]:
    """The plain tests of a run file; a journal has none. Raises StoreError when the file cannot be read as JSON."""
    if path.suffix == ".jsonl":
        return ()
    file = read_json_file(path)
    if not isinstance(file, dict) or not isinstance(file.get("benchmarks", []), list):
        raise damaged(path, "JSON without a list of benchmarks")
    return tuple(plain_tests(file))


def plain_tests(file: Mapping[str, object]) -> Iterator[PlainTest]:
    """The plain tests in the content of a run file; entries without a time are left out."""
    entries, machine = file.get("benchmarks"), machine_of(file.get("machine_info"))
    for entry in entries if isinstance(entries, list) else ():
        found = _test(entry, machine) if isinstance(entry, dict) else None
        if found is not None:
            yield found


def machine_of(info: object) -> dict[str, str]:
    """What of pytest-benchmark's machine info must agree between two runs: no host name and no clock frequency."""
    if not isinstance(info, Mapping):
        return {}
    cpu = info.get("cpu")
    found = {key: info.get(key) for key in MACHINE_KEYS}
    found |= {f"cpu {key}": cpu.get(key) for key in CPU_KEYS} if isinstance(cpu, Mapping) else {}
    return {key: str(value) for key, value in found.items() if value not in (None, "")}


def _test(entry: Mapping[str, object], machine: Mapping[str, str]) -> PlainTest | None:
    extra, stats = entry.get("extra_info"), entry.get("stats")
    if isinstance(extra, Mapping) and "lmbench" in extra:
        return None
    median, rounds = (stats.get(key) for key in ("median", "rounds")) if isinstance(stats, Mapping) else (None, None)
    if isinstance(median, bool) or not isinstance(median, int | float) or not math.isfinite(median):
        return None
    return PlainTest(
        node_id=str(entry.get("fullname") or entry.get("name")),
        median_s=float(median),
        rounds=rounds if isinstance(rounds, int) else 0,
        machine=machine,
    )
