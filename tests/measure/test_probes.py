"""Probes on made-up kernel files (both control group versions, RAPL, PSI) and on this process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.control_groups import locate
from lmbench.base.kernel_file import list_names, open_file, read_int, read_text
from lmbench.measure.clock import ManualClock
from lmbench.measure.probes.cgroup import Cgroup, parse_throttling
from lmbench.measure.probes.memory import available_bytes, meminfo, peak_rss_bytes, reset_peak, rss_bytes
from lmbench.measure.probes.nvml import throttle_names
from lmbench.measure.probes.pressure import Pressure, Waiting, parse_busy, parse_psi, parse_steal
from lmbench.measure.probes.process import ProcessTree, children_of, split_stat
from lmbench.measure.probes.rapl import Rapl, unwrapped


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_1_groups_are_found_and_read(tmp_path: Path) -> None:
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    write(
        tmp_path / "proc/mountinfo",
        f"32 31 0:29 / {cpu} rw - cgroup cgroup rw,cpu,cpuacct\n33 31 0:30 / {memory} rw - cgroup cgroup rw,memory\n",
    )
    write(tmp_path / "proc/cgroup", "4:memory:/job/inner\n1:cpu,cpuacct:/job\n")
    write(memory / "job/inner/memory.usage_in_bytes", "1000\n")
    write(memory / "job/inner/memory.limit_in_bytes", "9223372036854771712\n")
    write(memory / "job/memory.limit_in_bytes", "5000\n")
    write(cpu / "job/cpu.cfs_quota_us", "150000\n")
    write(cpu / "job/cpu.cfs_period_us", "100000\n")
    write(cpu / "job/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_time 2500000000\n")
    group = Cgroup(str(tmp_path / "proc"))
    assert group.read() == {"cgroup_memory_bytes": 1000, "cgroup_throttled_periods": 3, "cgroup_throttled_s": 2.5}
    assert group.limits() == {"version": "v1", "memory_limit_bytes": 5000, "cpu_quota": 1.5}
    assert group.reasons == {}
    write(memory / "job/inner/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n")
    assert group.memory_left() == 5000 - 1000 + 300, "files that nobody uses leave when memory is wanted"
    group.close()


def test_version_2_groups_are_found_and_the_smallest_limit_counts(tmp_path: Path) -> None:
    mount = tmp_path / "unified"
    write(tmp_path / "proc/mountinfo", f"41 31 0:38 / {mount} rw - cgroup2 cgroup2 rw\n")
    write(tmp_path / "proc/cgroup", "0::/a/b\n")
    write(mount / "a/b/memory.current", "77\n")
    write(mount / "a/b/memory.max", "max\n")
    write(mount / "a/memory.max", "4096\n")
    write(mount / "a/b/cpu.max", "max 100000\n")
    write(mount / "a/cpu.max", "50000 100000\n")
    write(mount / "a/b/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 1500000\n")
    group = Cgroup(str(tmp_path / "proc"))
    assert group.read() == {"cgroup_memory_bytes": 77, "cgroup_throttled_periods": 2, "cgroup_throttled_s": 1.5}
    assert group.limits() == {"version": "v2", "memory_limit_bytes": 4096, "cpu_quota": 0.5}
    assert group.memory_left() == 4096 - 77
    write(mount / "a/b/memory.stat", "anon 9\ninactive_file 7\n")
    assert group.memory_left() == 4096 - 70
    group.close()


def test_missing_groups_are_reasons(tmp_path: Path) -> None:
    group = Cgroup(str(tmp_path))
    assert group.read() == {}
    assert group.memory_left() is None
    assert set(group.reasons) == {"cgroup_memory_bytes", "cgroup_throttled_s"}
    assert group.limits() == {"version": None, "memory_limit_bytes": None, "cpu_quota": None}


def test_a_root_group_that_counts_no_throttling_says_so(tmp_path: Path) -> None:
    write(tmp_path / "proc/mountinfo", f"41 31 0:38 / {tmp_path / 'm'} rw - cgroup2 cgroup2 rw\n")
    write(tmp_path / "proc/cgroup", "0::/\n")
    write(tmp_path / "m/cpu.stat", "usage_usec 5\n")
    assert "never throttled" in Cgroup(str(tmp_path / "proc")).reasons["cgroup_throttled_s"]


def test_a_membership_outside_the_mount_falls_back_to_the_mount_point() -> None:
    mountinfo = "41 31 0:38 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert locate(mountinfo, "0::/other/xyz")["v2"] == ["/sys/fs/cgroup"]
    assert locate(mountinfo, "0::/docker/abc/job")["v2"] == ["/sys/fs/cgroup/job", "/sys/fs/cgroup"]
    assert locate(mountinfo, "0::/../..")["v2"] == ["/sys/fs/cgroup"]
    assert locate("", "0::/x\nnonsense") == {}


def test_throttling_without_counters_is_zero() -> None:
    assert parse_throttling("") == {"cgroup_throttled_periods": 0, "cgroup_throttled_s": 0.0}


def test_rapl_adds_packages_and_their_memory_only(tmp_path: Path) -> None:
    for zone, name, energy in (("0", "package-0", 1_000_000), ("0:0", "core", 9), ("0:1", "dram", 500_000), ("1", "psys", 7)):
        write(tmp_path / f"intel-rapl:{zone}/name", name)
        write(tmp_path / f"intel-rapl:{zone}/energy_uj", str(energy))
        write(tmp_path / f"intel-rapl:{zone}/max_energy_range_uj", "2000000")
    counters = Rapl(str(tmp_path))
    assert counters.read() == 0.0
    write(tmp_path / "intel-rapl:0/energy_uj", "1500000")
    assert counters.read() == pytest.approx(0.5)
    write(tmp_path / "intel-rapl:0/energy_uj", "100000")
    assert counters.read() == pytest.approx(1.1)
    counters.close()


def test_rapl_that_is_absent_says_so(tmp_path: Path) -> None:
    counters = Rapl(str(tmp_path))
    assert counters.read() is None
    assert "no intel-rapl zone" in counters.reason


@given(st.integers(0, 999), st.integers(0, 999))
def test_a_counter_that_wraps_still_only_grows(before: int, growth: int) -> None:
    assert unwrapped(before, (before + growth) % 1000, 1000) == growth


def test_pressure_is_parsed_and_its_absence_is_a_reason(tmp_path: Path) -> None:
    write(tmp_path / "pressure/cpu", "some avg10=12.50 avg60=1.00 avg300=0.10 total=2500000\nfull avg10=0.00 total=0\n")
    write(tmp_path / "stat", "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1\n")
    write(tmp_path / "loadavg", "0.75 0.5 0.25 1/100 42\n")
    gauges = Pressure(str(tmp_path))
    row = gauges.read()
    assert row["psi_cpu_some_avg10"] == 12.5
    assert row["psi_cpu_some_s"] == 2.5
    assert row["loadavg_1m"] == 0.75
    assert row["steal_s"] == 800 / os.sysconf("SC_CLK_TCK")
    assert row["busy_s"] == (1 + 2 + 3 + 6 + 7) / os.sysconf("SC_CLK_TCK"), "idle and waiting for disks is not work"
    assert set(gauges.reasons) == {"psi_memory", "psi_io"}
    gauges.close()


def test_waiting_since_the_last_look(tmp_path: Path) -> None:
    clock = ManualClock()
    write(tmp_path / "pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
    waiting = Waiting(clock, str(tmp_path))
    clock.advance(4.0)
    (tmp_path / "pressure/cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n")
    assert waiting.look() == pytest.approx(0.5)
    waiting.close()
    absent = Waiting(clock, str(tmp_path / "nowhere"))
    assert absent.look() is None
    absent.close()


def test_short_kernel_lines_do_not_break() -> None:
    assert parse_psi("full avg10=1 total=2") is None
    assert parse_steal("cpu 1 2 3") == 0.0
    assert parse_busy("cpu 1 2 3") is None
    assert split_stat("12 (a (b) c) S 1 2") == ["S", "1", "2"]


def test_kernel_files_that_are_absent(tmp_path: Path) -> None:
    file, reason = open_file(str(tmp_path / "none"))
    assert file is None
    assert "No such file" in reason
    assert read_text(str(tmp_path / "none")) is None
    assert list_names(str(tmp_path / "none")) == []
    write(tmp_path / "word", "max")
    assert read_int(str(tmp_path / "word")) is None


def test_this_process_is_a_tree() -> None:
    tree = ProcessTree(os.getpid())
    before = tree.read()
    assert before is not None
    sum(i * i for i in range(300_000))
    after = tree.read()
    assert after is not None
    assert after["cpu_s"] >= before["cpu_s"]
    assert after["rss_bytes"] > 1 << 20
    assert after["threads"] >= 1
    uss = tree.uss_bytes()
    assert uss is None or 0 < uss <= after["rss_bytes"] * 1.1
    tree.close()


def test_switches_of_this_process_only_grow() -> None:
    tree = ProcessTree(os.getpid())
    assert tree.switches() == {"voluntary_switches": 0, "involuntary_switches": 0}
    event = threading.Event()
    for _ in range(5):
        event.wait(0.001)
    assert tree.switches()["voluntary_switches"] >= 1
    tree.close()


def test_children_are_found() -> None:
    assert children_of(2**22 + 5) == []
    child = os.fork()
    if child == 0:
        threading.Event().wait(30)
        os._exit(0)
    try:
        assert child in children_of(os.getpid())
        assert child not in ProcessTree(os.getpid(), exclude=frozenset({child})).pids
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_peak_can_be_reset_and_rises_again() -> None:
    if not reset_peak():
        pytest.skip("this kernel does not allow clear_refs")
    base = peak_rss_bytes()
    block = bytearray(64 << 20)
    block[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(block[:: os.sysconf("SC_PAGE_SIZE")])
    high = peak_rss_bytes()
    now = rss_bytes()
    assert base is not None and high is not None and now is not None
    assert high - base > 56 << 20
    assert now <= high + (1 << 20)
    del block
    assert reset_peak()
    low = peak_rss_bytes()
    assert low is not None
    assert low < high - (32 << 20)


def test_meminfo_is_in_bytes() -> None:
    table = meminfo()
    free = available_bytes()
    assert free is not None
    assert 0 < free <= table["MemTotal"]
    assert table["MemTotal"] > 64 << 20


def test_throttle_reasons_have_names() -> None:
    assert throttle_names(0) == []
    assert throttle_names(0x4 | 0x40) == ["sw_power_cap", "hw_thermal_slowdown"]
