"""The machine class: what it holds, what it leaves out, and that it follows what this process may use."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from lmbench.measure import machine


def test_the_class_is_stable_and_safe_as_a_folder_name() -> None:
    first, second = machine.machine_class(), machine.machine_class()
    assert first == second
    assert re.fullmatch(r"[a-z0-9-]+", first.slug)
    assert first.slug.endswith(first.digest[:8])
    assert set(first.facts) == {"cpu_model", "architecture", "cpus", "memory_gib", "gpus", "os"}


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.00GHz", "xeon-platinum-8481c"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("AMD Ryzen 7 7840U with Radeon 780M Graphics", "amd-ryzen-7-7840u"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
        ("///", ""),
    ],
)
def test_names_are_shortened(model: str, slug: str) -> None:
    assert machine.short_name(model) == slug


def test_the_class_names_no_host_and_no_frequency() -> None:
    text = str(machine.machine_class())
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4
    assert "GHz" not in machine.machine_class().slug


def test_affinity_makes_another_class() -> None:
    allowed = machine.affinity()
    if len(allowed) < 2:
        pytest.skip("one CPU only")
    script = "import os; os.sched_setaffinity(0, {%d}); from lmbench.measure.machine import machine_class as m; print(m().slug)"
    narrow = subprocess.run(
        [sys.executable, "-c", script % allowed[0]], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert "-1cpu-" in narrow
    assert narrow != machine.machine_class().slug


def test_a_quota_smaller_than_the_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"version": "v2", "memory_limit_bytes": 3 << 30, "cpu_quota": 0.5}
    monkeypatch.setattr(machine, "cgroup_limits", lambda: limits)
    assert machine.usable_cpus() == 0.5
    assert machine.usable_memory_bytes() == 3 << 30
    assert "-0p5cpu-3gib-" in machine.machine_class().slug


def test_flags_are_those_that_pick_kernels() -> None:
    for flag in machine.cpu_flags():
        assert machine.FLAGS.match(flag)
    assert machine.FLAGS.match("avx512_vnni")
    assert machine.FLAGS.match("amx_tile")
    assert not machine.FLAGS.match("sse")
