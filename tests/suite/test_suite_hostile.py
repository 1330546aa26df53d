"""Suites, plans and one-line declarations with hostile content: one error, with file and line; every number is checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from lmbench.base.errors import ConfigError, Problem
from lmbench.capacity import plan_file, training_file
from lmbench.load import grammar, lengths
from lmbench.suite import engine_options, options, params, spec
from lmbench.suite.load import load

SUITE = """models: {{m: {{model: fake}}}}
cases:
  a: {{workload: latency, matrix: {{model: m, backend: fake}}, {keys}}}
{rest}
"""


def problems(folder: Path, keys: str = "", rest: str = "") -> tuple[Problem, ...]:
    path = folder / "a.suite.yaml"
    path.write_text(SUITE.format(keys=keys, rest=rest))
    with pytest.raises(ConfigError) as caught:
        load(path, folder)
    return caught.value.problems


@pytest.mark.parametrize("value", ["true", "on", ".inf", ".nan", "-1", "1e400", "9" * 5000, "2023-99-99", "!!int abc", "1e30"])
@pytest.mark.parametrize("key", ["batch", "timeout_s", "temperature"])
def test_a_number_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, key: str, value: str) -> None:
    found = problems(tmp_path, f"{key}: {value}")
    assert [(one.file, one.line, one.key) for one in found] == [("a.suite.yaml", 3, f"cases.a.{key}")]
    assert len(str(found[0])) < 400


@pytest.mark.parametrize("seed", ["-1", ".inf", "true", str(2**64)])
def test_a_seed_is_a_whole_number_from_zero(tmp_path: Path, seed: str) -> None:
    assert [(one.line, one.key) for one in problems(tmp_path, rest=f"seed: {seed}")] == [(4, "seed")]


def test_names_that_no_file_system_takes_do_not_exist(tmp_path: Path) -> None:
    name = "x" * 300
    assert "which does not exist" in problems(tmp_path, rest=f"include: {name}.yaml")[0].found
    assert [one.key for one in problems(tmp_path, rest=f"include: [{', '.join(['a.suite.yaml'] * 2)}]")] == ["include"] * 2


def test_includes_do_not_multiply(tmp_path: Path) -> None:
    for level in range(12):
        following = f"i{level + 1}.yaml"
        (tmp_path / f"i{level}.yaml").write_text(f"include: [{following}, {following}, {following}]\n")
    (tmp_path / "i12.yaml").write_text("seed: 1\n")
    found = problems(tmp_path, rest="include: i0.yaml")
    assert any("more than 100 files" in one.found for one in found)


def numeric_fields() -> Iterator[tuple[type[BaseModel], str]]:
    """Every field of a suite, a plan or an option that takes a number and no boolean."""
    modules = (params, spec, options, engine_options, plan_file, training_file)
    models = {
        one for module in modules for one in vars(module).values() if isinstance(one, type) and issubclass(one, params.Params)
    }
    for model in sorted({*models, *spec.CASE_MODELS.values()}, key=lambda one: one.__name__):
        for name, field in model.model_fields.items():
            kinds = set(_kinds(field.annotation))
            if kinds & {int, float} and bool not in kinds and Any not in kinds:
                yield model, name


def _kinds(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [kind for one in inner for kind in _kinds(one)] if inner else [annotation]


def test_no_numeric_key_takes_a_boolean_nan_or_what_is_beyond_all_ranges() -> None:
    fields = list(numeric_fields())
    assert len(fields) > 100
    for model, name in fields:
        for wrong in (True, float("nan"), float("inf"), 10**30, "nan"):
            if wrong == "nan" and str in _kinds(model.model_fields[name].annotation):
                continue
            for value in (wrong, [wrong], [wrong] * 24, {"ttft_p50_s": wrong}):
                with pytest.raises(ValidationError) as caught:
                    model.model_validate({name: value})
                assert any(fault["loc"][0] == name for fault in caught.value.errors()), (model, name, value)


@pytest.mark.parametrize(
    "line",
    [
        *("uniform 1..99999999999999999999", "uniform 1..1e300", "9" * 400, "lognormal 64 1e300", "lognormal 1e15 1", "0", "1.5"),
        "uniform 1.." + "9" * 20_000,
    ],
)
def test_lengths_that_nobody_can_send_are_refused(line: str) -> None:
    with pytest.raises(ConfigError):
        lengths.parse(line)


@pytest.mark.parametrize(
    "line",
    [
        *("hold 1e300 for 60s", "hold 20 for 1e300s", "hold 1e-300 for 60s", "ramp 1..64 x1.0000000001 for 1s each"),
        *("climb 1..1e9 x1.0002 for 1s each", "ramp 1..2 in 60s, pieces 100000000", "wave 1..2 for 60s, pieces 100000000"),
        "closed " + "9" * 400 + " for 30s each",
    ],
)
def test_shapes_that_nobody_can_carry_out_are_refused(line: str) -> None:
    with pytest.raises(ConfigError):
        grammar.parse(line)
