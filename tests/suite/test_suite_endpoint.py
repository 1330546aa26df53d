"""Suites that put load on endpoints: every fault of a one-line declaration, with file, line, key, column and a caret."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError, Problem
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.suite.load import load
from lmbench.suite.schemas import WORKLOAD_PARAMS
from lmbench.suite.spec import CaseCommon

HEAD = """models:
  served:
    model: endpoint
    url: http://127.0.0.1:8000
matrix: {model: served, backend: http}
"""


def planned(root: Path, text: str) -> list[Case]:
    path = root / "a.suite.yaml"
    path.write_text(text)
    return expand(load(path, root), root)


def faults(root: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        planned(root, text)
    return caught.value.problems


def with_line(line: str) -> str:
    return f"{HEAD}cases:\n  one:\n    workload: stress\n    {line}\n"


def test_an_endpoint_gets_its_defaults_and_every_parameter_has_a_place(tmp_path: Path) -> None:
    (case,) = planned(
        tmp_path,
        f"""{HEAD}cases:
  one:
    workload: stress
    shape: search 1.. for 20s each, within 5%
    prompts: sessions 2..8 turns, 16 at once
    prompt_tokens: lognormal 64 0.5, max 512
    output_tokens: 16
    arrivals: gamma
    burstiness: 0.4
    slo: {{ttft_s: 0.5, attainment: 0.99}}
""",
    )
    assert case.id == "one[served-http-none]"
    assert case.model.options["url"] == "http://127.0.0.1:8000"
    assert (case.model.options["api"], case.model.options["stream"], case.model.options["tokenizer"]) == (
        "completions",
        True,
        "bytes",
    )
    assert case.params["shape"] == "search 1.. for 20s each, within 5%"
    assert (case.params["retries"], case.params["processes"]) == (0, None)


@pytest.mark.parametrize("workload", sorted(WORKLOAD_PARAMS))
def test_no_parameter_of_a_workload_has_the_name_of_a_key_of_every_case(workload: str) -> None:
    assert not set(CaseCommon.model_fields) & set(WORKLOAD_PARAMS[workload].model_fields)


@pytest.mark.parametrize(
    ("line", "key", "column", "found", "shown"),
    [
        ("shape: hold 20 fr 60s", "shape", 9, "'fr'", "hold 20 fr 60s"),
        ("shape: hold 20 for", "shape", 12, "the end", "hold 20 for"),
        ("shape: hodl 20 for 60s", "shape", 1, "'hodl'", "hodl 20 for 60s"),
        ("prompts: shared-prefix 0", "prompts", 15, "'0'", "shared-prefix 0"),
        ("prompt_tokens: uniform 3..x", "prompt_tokens", 12, "'x'", "uniform 3..x"),
        ("output_tokens: lognormal 64", "output_tokens", 13, "the end", "lognormal 64"),
    ],
)
def test_a_line_that_cannot_be_read_is_shown_with_a_caret(
    line: str, key: str, column: int, found: str, shown: str, tmp_path: Path
) -> None:
    (problem,) = faults(tmp_path, with_line(line))
    assert (problem.file, problem.line) == ("a.suite.yaml", 9)
    assert problem.key == f"cases.one.{key}, column {column}"
    assert problem.found == found
    assert problem.hint.endswith(f"\n    {shown}\n    {' ' * (column - 1)}^")
    assert str(problem).startswith(f"a.suite.yaml:9: cases.one.{key}, column {column}: found {found}; expected ")


def test_a_misspelt_word_is_guessed(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, with_line("shape: hodl 20 for 60s"))
    assert problem.hint.startswith("Did you mean 'hold'?\n")


def test_all_faults_of_all_cases_come_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        f"""{HEAD}cases:
  one:
    workload: stress
    shape: hold
    prompts: uniqe
    burstiness: 0.5
  two:
    workload: stress
    shape: hold 1 for 1s
    trace: nowhere.csv
    prompt_tokens: empirical nowhere.txt
""",
    )
    assert {(problem.line, problem.key) for problem in found} == {
        (9, "cases.one.shape, column 5"),
        (10, "cases.one.prompts, column 1"),
        (11, "cases.one.burstiness"),
        (14, "cases.two.shape"),
        (15, "cases.two.trace"),
        (16, "cases.two.prompt_tokens"),
    }
    by_key = {problem.key: problem for problem in found}
    assert by_key["cases.one.burstiness"].expected.startswith("arrivals: gamma beside it")
    assert by_key["cases.two.shape"].found == "both a shape and a trace"
    assert by_key["cases.two.trace"].found == "nowhere.csv, which does not exist"
    assert by_key["cases.two.prompt_tokens"].found == "nowhere.txt, which does not exist"


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "c.yaml").write_text("cases:\n  one:\n    workload: stress\n    shape: soak 10\n")
    (problem,) = faults(tmp_path, f"include: common/c.yaml\n{HEAD}")
    assert (problem.file, problem.line, problem.key) == ("common/c.yaml", 4, "cases.one.shape, column 8")


def test_faults_of_the_options_are_found_at_load(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """models:
  a:
    model: endpoint
    ulr: http://127.0.0.1
    api: chatt
    server: {comand: [serve], timeout_s: 0}
  b:
    model: endpoint
    url: http://127.0.0.1
    server: {command: []}
    stream: perhaps
matrix: {model: [a, b], backend: http}
cases: {one: {workload: stress}}
""",
    )
    by_key = {problem.key: problem for problem in found}
    assert by_key["models.a.url"].found == "nothing"
    assert (by_key["models.a.ulr"].line, by_key["models.a.ulr"].hint) == (4, "Did you mean 'url'?")
    assert (by_key["models.a.api"].line, by_key["models.a.api"].hint) == (5, "Did you mean 'chat'?")
    assert by_key["models.a.server.comand"].hint == "Did you mean 'command'?"
    assert "models.a.server.command" in by_key
    assert "models.a.server.timeout_s" in by_key
    assert by_key["models.b.server.command"].found == "[]"
    assert by_key["models.b.stream"].line == 11
    assert len(by_key) == len(found) == 8


def test_a_tokenizer_file_starts_at_the_suite_and_must_be_there(tmp_path: Path) -> None:
    text = HEAD.replace("    url", "    tokenizer: t.json\n    url") + "cases: {one: {workload: stress}}\n"
    (problem,) = faults(tmp_path, text)
    assert (problem.line, problem.key) == (4, "models.served.tokenizer")
    (tmp_path / "t.json").touch()
    (case,) = planned(tmp_path, text)
    assert case.model.options["tokenizer"] == "t.json"


def test_a_secret_in_a_suite_is_refused_without_being_repeated(tmp_path: Path) -> None:
    text = HEAD.replace("    url", "    server: {command: [serve, --api-key, sk-secret]}\n    url")
    found = faults(tmp_path, text + "cases: {one: {workload: stress}}\n")
    assert any("--api-key" in str(problem) for problem in found)
    assert not any("sk-secret" in str(problem) for problem in found)
