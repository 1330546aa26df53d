"""The thread budget: affinity, nested quotas of both versions of control groups, and the user's variables give one number."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base import threads
from lmbench.base.control_groups import cpu_quota, located
from lmbench.base.threads import resolve, thread_budget
from lmbench.plan.case import Case, Choice
from lmbench.plan.threads import on_machine


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def unified(tmp_path: Path, quotas: dict[str, str]) -> float | None:
    """The quota of a process in group /a/b of a version 2 hierarchy with these cpu.max files."""
    mount = tmp_path / "unified"
    write(tmp_path / "proc/mountinfo", f"41 31 0:38 / {mount} rw - cgroup2 cgroup2 rw\n")
    write(tmp_path / "proc/cgroup", "0::/a/b\n")
    for group, text in quotas.items():
        write(mount / group / "cpu.max", text)
    return cpu_quota(located(str(tmp_path / "proc")))


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"a/b": "50000 100000\n"}, 0.5),
        ({"a/b": "max 100000\n", "a": "150000 100000\n"}, 1.5),
        ({"a/b": "400000 100000\n", "a": "200000 100000\n"}, 2.0),
        ({"a/b": "50000\n"}, 0.5),
        ({"a/b": "max 100000\n"}, None),
        ({"a/b": "\n", "a": "half 100000\n"}, None),
        ({"a/b": "0 0\n"}, None),
        ({}, None),
    ],
)
def test_version_2_quotas_nest_and_what_is_no_quota_is_none(
    tmp_path: Path, quotas: dict[str, str], expected: float | None
) -> None:
    assert unified(tmp_path, quotas) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("50000", 0.5), ("0", None), ("x", None)])
def test_version_1_quotas(tmp_path: Path, quota: str, expected: float | None) -> None:
    cpu = tmp_path / "cpu"
    write(tmp_path / "proc/mountinfo", f"32 31 0:29 / {cpu} rw - cgroup cgroup rw,cpu,cpuacct\n")
    write(tmp_path / "proc/cgroup", "1:cpu,cpuacct:/job/inner\n")
    write(cpu / "job/cpu.cfs_quota_us", f"{quota}\n")
    write(cpu / "job/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(located(str(tmp_path / "proc"))) == expected


@pytest.mark.parametrize(
    ("cpus", "quota", "variables", "suite", "expected"),
    [
        (8, None, {}, None, (8, "8 CPUs of the affinity mask")),
        (1, None, {}, None, (1, "1 CPU of the affinity mask")),
        (8, 0.5, {}, None, (1, "a CPU quota of 0.5 CPUs, at least 1 thread")),
        (8, 2.5, {}, None, (2, "a CPU quota of 2.5 CPUs, rounded down")),
        (8, 2.0, {}, None, (2, "a CPU quota of 2 CPUs")),
        (2, 4.0, {}, None, (2, "2 CPUs of the affinity mask")),
        (8, None, {"OMP_NUM_THREADS": "1"}, None, (1, "OMP_NUM_THREADS=1")),
        (8, None, {"OMP_NUM_THREADS": "4,2"}, None, (4, "OMP_NUM_THREADS=4")),
        (8, None, {"OPENBLAS_NUM_THREADS": " 3 "}, None, (3, "OPENBLAS_NUM_THREADS=3")),
        (
            8,
            2.0,
            {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"},
            None,
            (1, "OMP_NUM_THREADS=2, MKL_NUM_THREADS=1 (the smallest counts)"),
        ),
        (8, 2.0, {"OMP_NUM_THREADS": "2"}, 3, (3, "the suite's threads: 3")),
        (8, None, {"OMP_THREAD_LIMIT": "2", "OMP_NUM_THREADS": "4"}, None, (2, "OMP_THREAD_LIMIT=2")),
        (8, None, {"OMP_THREAD_LIMIT": "16"}, None, (8, "8 CPUs of the affinity mask")),
        (8, None, {"OMP_NUM_THREADS": "", "MKL_NUM_THREADS": "0"}, None, (8, "8 CPUs of the affinity mask")),
    ],
)
def test_one_number_and_where_it_came_from(
    cpus: int, quota: float | None, variables: dict[str, str], suite: int | None, expected: tuple[int, str]
) -> None:
    found = resolve(cpus, quota, variables, suite)
    assert (found.threads, found.source) == expected


def test_what_was_not_understood_and_what_crowds_the_cpus_is_said() -> None:
    found = resolve(2, None, {"OMP_NUM_THREADS": "all", "MKL_NUM_THREADS": "9" * 400})
    assert found.threads == 2
    assert found.notes[0] == "OMP_NUM_THREADS is ignored: expected a whole number of at least 1, found 'all'"
    assert len(found.notes[1]) < 130
    assert resolve(4, 0.5, {}, 2).notes == ("2 threads (the suite's threads: 2) share 0.5 CPUs: they wait for each other",)
    assert resolve(4, 0.5, {}).notes == ()
    assert resolve(4, None, {"OMP_THREAD_LIMIT": "1"}, 2).notes == (
        "engines on OpenMP run on 1 threads at most, for OMP_THREAD_LIMIT=1",
    )


def test_it_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*threads.VARIABLES, threads.LIMIT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(threads, "located", dict)
    assert thread_budget().threads == 8
    unified(tmp_path, {"a/b": "max 100000\n", "a": "50000 100000\n"})
    monkeypatch.setattr(threads, "located", lambda: located(str(tmp_path / "proc")))
    found = thread_budget()
    assert (found.threads, found.cpus, found.quota, found.usable) == (1, 8, 0.5, 0.5)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (thread_budget().threads, thread_budget(4).threads) == (2, 4)


def test_leaving_a_cpu_never_gives_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    case = fixed(Choice(name="b", kind="torch", options={"threads": "cpus-1"}))
    for name in (*threads.VARIABLES, threads.LIMIT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(threads, "located", dict)
    assert on_machine(case, 8.0).backend.options["threads"] == 7
    assert on_machine(case, 0.5).backend.options["threads"] == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert on_machine(case, 8.0).backend.options["threads"] == 2


def fixed(backend: Choice) -> Case:
    choice = Choice(name="none", kind="none")
    return Case(
        suite="s",
        name="n",
        workload="stress",
        params={},
        model=Choice(name="m", kind="fake"),
        backend=backend,
        compression=choice,
        corpus={"source": "python-reference"},
    )
