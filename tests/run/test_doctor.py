"""The doctor's judgement on made-up machines, and one look at the real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lmbench.base.entry import Entry, Need
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS
from lmbench.base.threads import resolve
from lmbench.run import doctor
from lmbench.run.doctor import FAIL, NOTE, OK, WARN, Finding, diagnose, exit_status

GIB = 1 << 30
QUIET = {"t": 0.0, "psi_cpu_some_avg10": 0.0, "loadavg_1m": 0.1, "steal_s": 5.0, "cgroup_throttled_periods": 7.0}


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.area: finding.level for finding in findings}


def test_this_machine_is_diagnosed_without_importing_an_engine() -> None:
    script = "import sys; from lmbench.run.doctor import diagnose; print(len(diagnose()), 'torch' in sys.modules)"
    count, loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert int(count) > 10
    assert loaded == "False"


def test_every_member_of_every_axis_is_listed() -> None:
    findings = diagnose()
    for area, entries in (("backend", BACKENDS), ("model", MODELS), ("compression", COMPRESSIONS)):
        names = {finding.found.partition(":")[0] for finding in findings if finding.area == area}
        assert names == set(entries)
    for finding in findings:
        assert finding.level in (OK, NOTE, WARN, FAIL)
        assert finding.why
        assert finding.remedy or finding.level in (OK, NOTE)


def test_a_quiet_machine_is_ok() -> None:
    found = doctor.noise(QUIET, {**QUIET, "t": 0.5}, {}, 2.0)
    assert set(levels(found).values()) == {OK}
    assert exit_status(found) == 0


def test_each_kind_of_noise_is_a_warning() -> None:
    busy = {"t": 1.0, "psi_cpu_some_avg10": 40.0, "loadavg_1m": 3.0, "steal_s": 5.5, "cgroup_throttled_periods": 9.0}
    found = doctor.noise(QUIET, busy, {}, 2.0)
    assert levels(found) == {"pressure": WARN, "load": WARN, "steal": WARN, "throttling": WARN}
    assert "25.0%" in next(finding.found for finding in found if finding.area == "steal")
    assert exit_status(found) == 1


def test_old_throttling_alone_is_no_warning() -> None:
    assert levels(doctor.noise(QUIET, {**QUIET, "t": 0.5}, {}, 2.0))["throttling"] == OK


def test_a_kernel_without_pressure_information_is_a_note() -> None:
    row = {"t": 0.0}
    found = doctor.noise(row, {"t": 0.5}, {"psi_cpu": "/proc/pressure/cpu: No such file or directory"}, 2.0)
    assert levels(found) == {"pressure": NOTE}


def test_governor_and_turbo() -> None:
    assert levels(doctor.frequency("powersave", True)) == {"governor": WARN, "turbo": NOTE}
    assert levels(doctor.frequency("performance", False)) == {"governor": OK, "turbo": OK}
    assert levels(doctor.frequency(None, None)) == {"governor": NOTE, "turbo": NOTE}


def test_memory_limit_and_swap() -> None:
    table = {"MemAvailable": 16 * GIB, "SwapTotal": 4 * GIB, "SwapFree": 3 * GIB}
    assert levels(doctor.memory(table, None)) == {"memory": OK, "swap": WARN}
    assert levels(doctor.memory(table, GIB))["memory"] == WARN
    assert levels(doctor.memory({}, None)) == {"memory": NOTE}


def test_a_quota_below_the_affinity_names_the_thread_count() -> None:
    found = doctor.cpus([0, 1, 2, 3], 1.5)
    assert found[0].level == WARN
    assert "set OMP_NUM_THREADS=1 for servers" in found[0].remedy
    crowded = doctor.cpus([0, 1], 2.0, resolve(2, None, {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "many"}))[-1]
    assert (crowded.area, crowded.level) == ("threads", WARN)
    assert crowded.found.startswith("4 for every engine, from OMP_NUM_THREADS=4; MKL_NUM_THREADS is ignored")
    assert doctor.cpus([0, 1], 2.0, resolve(2, None, {}))[-1].level == OK
    assert [finding.level for finding in doctor.cpus([0], 1.0)] == [OK, NOTE]


def test_clock_sources() -> None:
    assert doctor.clocksource("tsc").level == OK
    assert doctor.clocksource("hpet").level == WARN
    assert doctor.clocksource(None).level == NOTE


def test_devices_are_listed_or_their_absence_explained() -> None:
    assert doctor.devices([], "no NVIDIA driver")[0].found == "no NVIDIA driver"
    found = doctor.devices([{"name": "Stub", "memory_total_bytes": 40 * GIB}, {"name": None, "memory_total_bytes": None}], "")
    assert [finding.level for finding in found] == [OK, OK]
    assert found[0].found == "Stub, 40 GiB"


def test_what_is_missing_names_the_extra_that_brings_it() -> None:
    entry = Entry(target="x:y", about="x", needs=(Need(module="no_such_module_here", extra="onnx"),))
    found = doctor.member("backend", "x", entry)
    assert found.level == NOTE
    assert found.found == "x: no_such_module_here not installed"
    assert found.remedy == "pip install 'pytest-lmbench[onnx]'"


def test_a_machine_without_any_engine_fails() -> None:
    bare = {"real": Entry(target="x:y", about="x", needs=(Need(module="no_such_module_here", extra="torch"),))}
    fake = {"fake": Entry(target="x:y", about="x")}
    assert doctor.engines({**bare, **fake}).level == FAIL
    present = {"json": Entry(target="x:y", about="x", needs=(Need(module="json", extra="torch"),))}
    assert doctor.engines({**bare, **present}).found == "1 of 2 backends usable"


@pytest.mark.parametrize(("found", "status"), [([], 0), ([OK, NOTE], 0), ([OK, WARN], 1), ([WARN, FAIL], 2)])
def test_the_exit_status_is_the_worst_level(found: list[str], status: int) -> None:
    assert exit_status(Finding(area="x", level=level, found="x", why="x") for level in found) == status
