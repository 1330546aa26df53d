"""A pair of real pytest processes: counted work, sides that fail, trees that do not import, cases that are not there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lmbench.paired.numbers import BASE, HEAD, CasePair, Job, summarise
from lmbench.paired.pair import Sides, rounds_for, run_pair
from lmbench.paired.protocol import INJECT, Round, injected, step_of
from lmbench.store.renames import Renames
from tests.paired.conftest import TREE

Make = Callable[..., Sides]


def pair(sides: Sides, *node_ids: str, number: int = 0) -> dict[str, CasePair]:
    jobs = [Job(node_id=node_id, timeout_s=60) for node_id in node_ids]
    found = list(run_pair(sides, jobs, number, np.random.default_rng(number), lambda _: None))
    assert [one.node_id for one in found] == list(node_ids), "every job is answered once, in order"
    return {one.node_id: one for one in found}


def test_the_same_tests_on_both_sides_give_one_number_per_metric(sides: Make) -> None:
    found = pair(sides(), "test_a.py::test_steady")["test_a.py::test_steady"]
    assert found.failure == ""
    assert set(found.log_ratios) == {"round_p50_s"}
    assert found.calls[0] == found.calls[1] == found.loops
    assert found.rounds % 2 == 0, "each side goes first equally often"
    assert not found.parallel


def test_twice_the_iterations_are_seen_as_twice_the_time(sides: Make) -> None:
    twice = TREE.replace("20000", "40000")
    found = pair(sides(head={"test_a.py": twice}), "test_a.py::test_steady")["test_a.py::test_steady"]
    assert found.calls[0] == found.calls[1], "both sides do the same number of calls, whatever each takes"
    assert found.cpu_log_ratio is not None and found.cpu_log_ratio > math.log(1.3)


def test_injected_work_is_counted_calls_in_the_head_alone(sides: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"test_a.py": TREE + TREE.replace("test_steady", "test_other")}
    monkeypatch.setenv(INJECT, "test_other:1.5")
    found = pair(replace(sides(both, both), inject="test_steady:1.05"), "test_a.py::test_steady", "test_a.py::test_other")
    steady, other = found["test_a.py::test_steady"], found["test_a.py::test_other"]
    assert steady.calls[1] * 20 == steady.calls[0] * 21, "exactly 5 % more calls"
    assert other.calls[0] == other.calls[1]


def test_pedantic_setup_fixtures_parameters_and_statistics_work_as_in_a_plain_run(sides: Make) -> None:
    text = """
    import pytest
    made = []

    @pytest.fixture(scope="module")
    def data():
        made.append(1)
        return list(range(1000))

    @pytest.mark.parametrize("power", [1, 2])
    def test_power(benchmark, data, power):
        assert benchmark(lambda: sum(x**power for x in data)) > 0
        assert benchmark.stats.stats.mean > 0

    def test_pedantic(benchmark, data):
        result = benchmark.pedantic(sorted, setup=lambda: ((data[::-1],), {}), rounds=3)
        assert result == data
        assert made == [1], "a module's fixture is made once for all its tests"

    def test_iterations(benchmark):
        assert benchmark.pedantic(sum, args=([1, 2],), iterations=50, rounds=2) == 3
    """
    names = [f"test_a.py::{name}" for name in ("test_power[1]", "test_power[2]", "test_pedantic", "test_iterations")]
    found = pair(sides({"test_a.py": text}, {"test_a.py": text}), *names)
    assert [found[name].failure for name in names] == ["", "", "", ""]
    assert [found[name].loops for name in names[2:]] == [1, 50]


def test_a_case_that_the_base_lacks_costs_only_itself(sides: Make) -> None:
    head = {"test_a.py": TREE, "test_b.py": TREE}
    found = pair(sides(head=head), "test_b.py::test_steady", "test_a.py::test_steady")
    assert found["test_b.py::test_steady"].absent
    assert "base tree does not have this case" in found["test_b.py::test_steady"].failure
    assert found["test_a.py::test_steady"].failure == ""


def test_a_base_that_does_not_import_is_quoted(sides: Make) -> None:
    broken = {"test_a.py": TREE, "test_b.py": "import no_such_module\n" + TREE}
    found = pair(sides(broken, {"test_a.py": TREE, "test_b.py": TREE}), "test_b.py::test_steady", "test_a.py::test_steady")
    lost = found["test_b.py::test_steady"]
    assert lost.side == BASE and not lost.absent
    assert "No module named 'no_such_module'" in lost.failure
    assert found["test_a.py::test_steady"].failure == ""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("raise RuntimeError('no luck')", "no luck"),
        ("import pytest; pytest.skip('not today')", "not today"),
        ("import sys; sys.exit(3)", "SystemExit"),
    ],
)
@pytest.mark.parametrize("side", [BASE, HEAD])
def test_a_side_that_falls_is_named_and_the_other_cases_go_on(sides: Make, side: str, fault: str, message: str) -> None:
    falls = {"test_a.py": TREE + f"\ndef test_falls(benchmark):\n    {fault}\n" + TREE.replace("test_steady", "test_after")}
    stands = {
        "test_a.py": TREE + "\ndef test_falls(benchmark):\n    benchmark(int)\n" + TREE.replace("test_steady", "test_after")
    }
    names = [f"test_a.py::{name}" for name in ("test_steady", "test_falls", "test_after")]
    found = pair(sides(falls, stands) if side == BASE else sides(stands, falls), *names)
    assert found[names[1]].side == side and message in found[names[1]].failure
    assert found[names[0]].failure == found[names[2]].failure == ""


def test_a_test_that_fails_after_measuring_has_no_number(sides: Make) -> None:
    late = {"test_a.py": TREE + "    assert 1 == 2\n"}
    found = pair(sides(head=late), "test_a.py::test_steady")["test_a.py::test_steady"]
    assert found.side == HEAD and "failed after it measured" in found.failure and not found.log_ratios


def test_a_base_that_imports_the_heads_code_is_found_out(sides: Make) -> None:
    made = sides({"test_a.py": "import engine\n" + TREE}, {"test_a.py": "import engine\n" + TREE, "engine.py": "x = 1\n"})
    sneaky = Sides(
        base=type(made.base)(name="base", root=made.base.root, env={"PYTHONPATH": str(made.head.root)}),
        head=made.head,
        foreign=made.head.root,
    )
    jobs = [Job(node_id="test_a.py::test_steady", timeout_s=60)]
    found = list(run_pair(sneaky, jobs, 0, np.random.default_rng(0), lambda _: None))
    assert found[0].side == BASE and "imported 1 of the head tree's files" in found[0].failure


def test_rounds_alternate_and_are_mirrored_from_pair_to_pair() -> None:
    assert [rounds_for(seconds) for seconds in (1e-3, 4e-3, 0.01, 0.05, 0.1, 0.2, 2.0)] == [100, 50, 20, 20, 10, 4, 4]
    assert all(rounds_for(10**exponent) % 2 == 0 for exponent in np.linspace(-5, 2, 50))


def test_the_number_of_a_pair_is_the_median_of_the_ratios_of_its_rounds() -> None:
    def rounds(*seconds: float, switches: int = 0) -> list[Round]:
        return [
            Round(values={"round_p50_s": one}, wall_s=one, cpu_s=one, thread_cpu_s=one / 2, switches=switches, calls=3)
            for one in seconds
        ]

    found = summarise("a", {BASE: rounds(1, 2, 4), HEAD: rounds(1.1, 2.6, 4.4, switches=2)}, loops=3, clock="cpu", wall_s=0)
    assert found.log_ratios["round_p50_s"] == pytest.approx(math.log(1.1))
    assert found.log_ratios["round_cpu_p50_s"] == pytest.approx(math.log(1.1))
    assert found.base["round_p50_s"] == 2 and found.head["round_p50_s"] == 2.6
    assert found.switches == (0, 2)


def test_a_parallel_case_offers_no_cpu_time_of_one_thread() -> None:
    one = Round(values={"round_p50_s": 1.0}, wall_s=1.0, cpu_s=1.9, thread_cpu_s=1.0, switches=0, calls=1)
    found = summarise("a", {BASE: [one], HEAD: [one]}, loops=1, clock="cpu", wall_s=0)
    assert found.parallel and set(found.log_ratios) == {"round_p50_s"}


def test_injection_names_parts_of_node_ids() -> None:
    assert injected("decode:1.05,train:1.10", "suites/a.suite.yaml::train[x]") == 1.10
    assert injected("", "anything") == 1.0
    assert injected("decode:1.05", "other") == 1.0


def test_an_injected_factor_is_a_whole_number_of_calls() -> None:
    assert [step_of(factor) for factor in (1.0, 1.02, 1.05, 1.10, 1.25, 1.5, 2.0)] == [1, 50, 20, 10, 4, 2, 1]


def test_the_base_may_have_a_test_under_a_former_name(sides: Make) -> None:
    old = {"test_old.py": TREE.replace("test_steady", "test_before")}
    renames = Renames(table={"test_old.py": "test_a.py", "test_a.py::test_before": "test_a.py::test_steady"})
    found = pair(replace(sides(old), renames=renames), "test_a.py::test_steady")["test_a.py::test_steady"]
    assert (found.failure, found.base_id) == ("", "test_old.py::test_before")
