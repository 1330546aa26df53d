"""Endpoint cases: which cells can run, and that files named by a load's parameters are found from the suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError
from lmbench.base.registry import WORKLOADS
from lmbench.plan import select
from lmbench.plan.case import Case, Choice
from lmbench.plan.expand import expand, files_of, require_valid
from lmbench.suite.load import load
from lmbench.suite.params import StressParams
from lmbench.suite.schemas import WORKLOAD_PARAMS

ENDPOINT = Choice(name="m", kind="endpoint", options={"url": "http://127.0.0.1:8000"})
HTTP = Choice(name="http", kind="http")
SUITE = "models: {m: {model: endpoint, url: 'http://127.0.0.1:8000'}}\nmatrix: {model: m, backend: http}\ncases:\n"


def case(workload: str = "stress", **changes: object) -> Case:
    fields: dict[str, object] = {
        "suite": "load",
        "name": "n",
        "workload": workload,
        "params": WORKLOAD_PARAMS[workload]().model_dump(),
        "model": ENDPOINT,
        "backend": HTTP,
        "compression": Choice(name="none", kind="none"),
        "corpus": {"source": "python-reference"},
    }
    return Case(**{**fields, **changes})  # type: ignore[arg-type]


def cases(root: Path, text: str) -> list[Case]:
    (root / "sub").mkdir(exist_ok=True)
    path = root / "sub" / "x.suite.yaml"
    path.write_text(SUITE + text)
    return expand(load(path, root), root)


def test_load_is_what_an_endpoint_can_be_put_under() -> None:
    assert select.obstacle(case()) is None


@pytest.mark.parametrize("workload", sorted(set(WORKLOADS) - {"stress"}))
def test_everything_else_says_why_not_and_what_instead(workload: str) -> None:
    reason = select.obstacle(case(workload))
    assert reason == f"of an endpoint only the answers are seen, so {workload} cannot measure it; use stress"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend": Choice(name="torch", kind="torch")}, "torch cannot load a model of family endpoint; use http"),
        ({"model": Choice(name="d", kind="decoder")}, "http cannot load a model of family decoder; use torch"),
        ({"compression": Choice(name="bf16", kind="bf16")}, "bf16 cannot be applied to a model of family endpoint; use none"),
    ],
)
def test_a_server_runs_its_model_as_it_will(changes: dict[str, object], words: str) -> None:
    assert words in (select.obstacle(case(**changes)) or "")  # type: ignore[arg-type]


def test_the_client_needs_its_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_installed", lambda module: module != "httptools")
    assert select.obstacle(case()) == "not installed: httptools; run: pip install 'pytest-lmbench[load]'"


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"shape": "hold 20 fr 60s"}, "load: shape column 9: found 'fr'; expected 'for'"),
        ({"prompts": "uniqe"}, "load: prompts column 1: found 'uniqe'"),
        ({"output_tokens": "uniform 5"}, "load: output_tokens column 10"),
        ({"burstiness": 0.5}, "found 0.5; expected arrivals: gamma"),
        ({"shape": "hold 1 for 1s", "trace": "t.csv"}, "found both a shape and a trace"),
    ],
)
def test_a_case_without_a_suite_is_checked_too(params: dict[str, object], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_valid(case(params=StressParams.model_validate(params).model_dump()))
    assert place in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_valid_case_without_a_suite_passes() -> None:
    params = {"shape": "search 1..", "prompts": "shared-prefix 50%", "arrivals": "gamma", "burstiness": 0.5}
    require_valid(case(params=StressParams.model_validate(params | {"shape": "search 1.. for 5s each"}).model_dump()))
    require_valid(case("latency"))


def test_files_of_a_load_start_at_the_suite_that_writes_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    row = {"timestamp": 0, "input_length": 3, "output_length": 2, "hash_ids": []}
    (tmp_path / "sub" / "t.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "sub" / "lengths of mine.txt").write_text("3\n4\n")
    one, two = cases(
        tmp_path,
        "  one: {workload: stress, trace: t.jsonl}\n  two: {workload: stress, prompt_tokens: 'empirical lengths of mine.txt'}\n",
    )
    assert (one.params["trace"], files_of(one)) == ("sub/t.jsonl", ["sub/t.jsonl"])
    assert two.params["prompt_tokens"] == "empirical sub/lengths of mine.txt"
    assert files_of(two) == ["sub/lengths of mine.txt"]


def test_a_trace_of_an_included_file_starts_there(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "t.csv").touch()
    (tmp_path / "common" / "load.yaml").write_text("cases: {one: {workload: stress, trace: t.csv}}\n")
    path = tmp_path / "x.suite.yaml"
    path.write_text("include: common/load.yaml\n" + SUITE.removesuffix("cases:\n"))
    (cell,) = expand(load(path, tmp_path), tmp_path)
    assert cell.params["trace"] == "common/t.csv"


def test_a_file_elsewhere_keeps_its_whole_path(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    trace = tmp_path_factory.mktemp("elsewhere") / "t.csv"
    trace.touch()
    (cell,) = cases(tmp_path, f"  one: {{workload: stress, trace: {trace}}}\n")
    assert cell.params["trace"] == str(trace)


def test_a_fault_inside_a_named_file_names_that_file_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "n.txt").write_text("3\n4\nfive\n")
    with pytest.raises(ConfigError) as caught:
        cases(tmp_path, "  one: {workload: stress, output_tokens: 'empirical n.txt'}\n")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "sub" / "n.txt"), 3)
    assert (problem.key, problem.found) == ("cases.one.output_tokens, lengths", "'five'")


def test_an_endpoint_case_survives_json_and_its_digest_follows_what_is_asked() -> None:
    one = case(params=StressParams(shape="hold 2 for 3s").model_dump())
    assert Case.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert one.digest != case(params=StressParams(shape="hold 2 for 4s").model_dump()).digest
