"""Expansion of matrices, identity of cases, and why a cell cannot run here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.plan import select
from lmbench.plan.case import Case, Choice
from lmbench.plan.expand import expand
from lmbench.suite.load import load

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4, unique=True)
BACKENDS = st.lists(st.sampled_from(["torch", "onnxruntime", "fake"]), min_size=1, max_size=3, unique=True)
LEVELS = st.lists(st.sampled_from(["none", "bf16", "int8-dynamic"]), min_size=1, max_size=3, unique=True)


def cases(root: Path, text: str) -> list[Case]:
    path = root / "x.suite.yaml"
    path.write_text("models:\n" + "".join(f"  {name}: {{model: fake}}\n" for name in "abcd") + text)
    return expand(load(path, root), root)


def case(**changes: object) -> Case:
    fields: dict[str, object] = {
        "suite": "s.suite.yaml",
        "name": "n",
        "workload": "latency",
        "params": {"prompt_tokens": 4},
        "model": Choice(name="m", kind="decoder"),
        "backend": Choice(name="torch", kind="torch"),
        "compression": Choice(name="none", kind="none"),
        "corpus": {"source": "python-reference"},
    }
    return Case(**{**fields, **changes})  # type: ignore[arg-type]


@given(models=NAMES, backends=BACKENDS, levels=LEVELS)
def test_the_matrix_is_the_full_product_with_unique_ids(
    tmp_path_factory: pytest.TempPathFactory, models: list[str], backends: list[str], levels: list[str]
) -> None:
    root = tmp_path_factory.mktemp("plan")
    matrix = json.dumps({"model": models, "backend": backends, "compression": levels})
    found = cases(root, f"matrix: {matrix}\ncases: {{one: {{workload: latency}}, two: {{workload: memory}}}}")
    assert len(found) == 2 * len(models) * len(backends) * len(levels)
    assert len({cell.node_id for cell in found}) == len(found)
    assert found == cases(root, f"matrix: {matrix}\ncases: {{one: {{workload: latency}}, two: {{workload: memory}}}}")


def test_exclude_include_and_mark_do_what_they_say(tmp_path: Path) -> None:
    found = cases(
        tmp_path,
        """
matrix:
  model: [a, b]
  backend: [torch, fake]
  exclude: [{model: a, backend: torch}]
  include: [{model: c, backend: fake, compression: bf16, tags: extra}]
  mark: [{model: b, backend: [fake, torch], tags: slow}, {case: two, tags: late}]
tags: all
cases:
  one: {workload: latency, tags: first}
  two: {workload: latency, matrix: {model: d}}
""",
    )
    table = {cell.id: cell.tags for cell in found}
    assert table == {
        "one[a-fake-none]": ("all", "first"),
        "one[b-torch-none]": ("all", "first", "slow"),
        "one[b-fake-none]": ("all", "first", "slow"),
        "one[c-fake-bf16]": ("all", "first", "extra"),
        "two[d-torch-none]": ("all", "late"),
        "two[d-fake-none]": ("all", "late"),
        "two[c-fake-bf16]": ("all", "extra", "late"),
    }


def test_a_case_without_cells_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.suite\.yaml:8: cases\.one\.matrix: found no cell"):
        cases(tmp_path, "matrix: {model: a, exclude: [{model: a}]}\ncases:\n  one: {workload: latency}\n")


def test_the_digest_follows_content_and_not_names() -> None:
    same = case(name="other", tags=("x",), gate={"perplexity": 0.1}, timeout_s=1.0, model=Choice(name="z", kind="decoder"))
    assert same.digest == case().digest
    assert case(seed=1).digest != case().digest
    assert case(model=Choice(name="m", kind="decoder", options={"layers": 4})).digest != case().digest
    assert case(corpus={"source": "shakespeare"}).digest != case().digest


def test_a_case_survives_json() -> None:
    one = case(
        tags=("a", "b"), gate={"perplexity": 0.1}, compression=Choice(name="p", kind="prune-magnitude", options={"sparsity": 0.5})
    )
    assert Case.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_paths_start_at_the_file_that_wrote_them(tmp_path: Path) -> None:
    (tmp_path / "common" / "weights").mkdir(parents=True)
    (tmp_path / "common" / "weights" / "m.onnx").touch()
    (tmp_path / "common" / "texts").mkdir()
    (tmp_path / "common" / "texts" / "a.txt").touch()
    (tmp_path / "common" / "m.yaml").write_text("models: {mine: {model: ./weights/m.onnx}}\ncorpus: texts/a.txt\n")
    (cell,) = cases(
        tmp_path, "include: common/m.yaml\nmatrix: {model: mine, backend: onnxruntime}\ncases: {one: {workload: latency}}"
    )
    assert cell.model == Choice(name="mine", kind="onnx-file", options={"path": "common/weights/m.onnx"})
    assert cell.corpus == {"source": "common/texts/a.txt"}


def test_files_that_do_not_exist_are_faults_with_their_line(tmp_path: Path) -> None:
    text = "  mine: {model: ./m.onnx}\n  hf:\n    model: huggingface\n    path: nowhere\nmatrix: {model: a}\ncorpus: no.txt\ncases: {one: {workload: latency}}"
    with pytest.raises(ConfigError) as caught:
        cases(tmp_path, text)
    assert {(problem.line, problem.key, problem.found) for problem in caught.value.problems} == {
        (6, "models.mine.model", "m.onnx, which does not exist"),
        (9, "models.hf.path", "nowhere, which does not exist"),
        (11, "corpus", "no.txt, which does not exist"),
    }


def test_your_own_model_by_import_path(tmp_path: Path) -> None:
    (cell,) = cases(
        tmp_path, "  mine: {model: 'mypkg.models:build', layers: 4}\nmatrix: {model: mine}\ncases: {one: {workload: latency}}"
    )
    assert cell.model == Choice(name="mine", kind="imported", options={"target": "mypkg.models:build", "layers": 4})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend": Choice(name="fake", kind="fake")}, "fake cannot load a model of family decoder; use torch"),
        ({"model": Choice(name="f", kind="onnx-file")}, "torch cannot load a model of family onnx-file; use onnxruntime"),
        (
            {"backend": Choice(name="o", kind="onnxruntime"), "compression": Choice(name="b", kind="bf16")},
            "no bfloat16 kernels",
        ),
        (
            {"workload": "training_step", "backend": Choice(name="o", kind="onnxruntime")},
            "does not train; use torch or torch-compile",
        ),
        ({"workload": "training_step", "compression": Choice(name="b", kind="bf16")}, "training starts from fp32 weights"),
        (
            {
                "model": Choice(name="f", kind="fake"),
                "backend": Choice(name="f", kind="fake"),
                "compression": Choice(name="b", kind="bf16"),
            },
            "bf16 cannot be applied to a model of family fake; use none",
        ),
    ],
)
def test_obstacles_give_reason_and_remedy(changes: dict[str, object], words: str) -> None:
    assert words in (select.obstacle(case(**changes)) or "")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_installed", lambda module: module != "onnxruntime")
    reason = select.obstacle(case(backend=Choice(name="o", kind="onnxruntime")))
    assert reason == "not installed: onnxruntime; run: pip install 'pytest-lmbench[onnx]'"


def test_nothing_stands_in_the_way_of_a_plain_case() -> None:
    assert select.obstacle(case()) is None
