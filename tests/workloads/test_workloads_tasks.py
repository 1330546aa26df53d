"""tasks through lm-eval: against plain loops over logits, models that know every answer, and all that can be wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.compare.judging import compare_case
from lmbench.data import corpora, items
from lmbench.measure.measurement import Measurement
from lmbench.plan.case import Case, Choice
from lmbench.plan.select import obstacle
from lmbench.record.codec import from_json, to_json
from lmbench.record.record import Record
from lmbench.run.execute import Setting, execute
from lmbench.suite.params import TasksParams
from lmbench.workloads import tasks, tasks_load
from lmbench.workloads.context import Context
from tests.workloads.virtual import VirtualBuilder, make

VALID = corpora.load({"source": "python-reference"}).valid_text
SEED = 5  # of every virtual case
needs_harness = pytest.mark.skipif(find_spec("lm_eval") is None, reason="run: pip install 'pytest-lmbench[lm-eval]'")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
    yield
    patch.undo()


def fake(*, max_tokens: int = 4096, once: bool = False, **params: Any) -> tuple[Context, VirtualBuilder]:
    context, builder, _ = make("tasks", params, model={"max_tokens": max_tokens}, once=once)
    return context, builder


def plain(builder: VirtualBuilder, context: str, continuation: str, room: int = 4096) -> tuple[float, bool]:
    """(ln p, greedy or not) token by token, in one pass of the fake model's function and arithmetic of our own."""
    encode = builder.model.tokenizer.encode
    length = len(encode(context + continuation)) - len(encode(context))
    ids = encode(context + continuation)[-(room + 1) :]
    logits = builder.model.module(np.array([ids[:-1]]), np.arange(len(ids) - 1))[0][0].astype(float)
    total, greedy = 0.0, True
    for place in range(len(ids) - 1 - length, len(ids) - 1):
        row = logits[place]
        total += row[ids[place + 1]] - np.log(np.exp(row - row.max()).sum()) - row.max()
        greedy &= int(row.argmax()) == ids[place + 1]
    return total, bool(greedy)


def written(folder: Path, name: str = "mine", *, rows: list[dict[str, Any]], **config: Any) -> str:
    """A YAML file (JSON is YAML) of a task whose items lie beside it; its path."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    local = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps({"task": name, **local, "test_split": "test", "target_delimiter": "", **config}))
    return str(file)


ROWS = [{"text": f"the {number} line", "word": " ends"} for number in range(5)]
LIKELIHOOD = {"output_type": "loglikelihood", "doc_to_text": "{{text}}", "doc_to_target": "{{word}}"}


@needs_harness
def test_a_fake_is_right_as_often_as_a_plain_loop_counts() -> None:
    context, builder = fake(limit=60)
    found = tasks.run(context)
    words = [plain(builder, item.context, item.word)[1] for item in items.cloze(VALID, count=60, seed=SEED)]
    lines = []
    for item in items.choices(VALID, count=60, seed=SEED):
        scores = [plain(builder, item.context, "\n" + line)[0] / len(line) for line in item.lines]
        lines.append(scores.index(max(scores)) == item.answer)
    assert found.metrics["cloze_accuracy"].value == sum(words) / 60 == 0
    assert found.metrics["choice_accuracy"].value == sum(lines) / 60
    assert 0.1 < sum(lines) / 60 < 0.4, "about one of four: it knows nothing"
    assert found.metrics["choice_accuracy"].n == 60
    share = sum(lines) / 60
    kept = found.details["tasks"]["choice"]["metrics"]["acc_norm"]
    assert kept["stderr"] == pytest.approx((share * (1 - share) / 59) ** 0.5)
    chances = [plain(builder, item.context, item.word)[0] for item in items.cloze(VALID, count=60, seed=SEED)]
    perplexity = found.details["tasks"]["cloze"]["metrics"]["perplexity"]
    assert perplexity["value"] == pytest.approx(float(np.exp(-np.mean(chances))))
    assert perplexity["stderr"] > 0
    assert any("choice_accuracy has a standard error of 0.0" in note for note in found.notes)
    assert any("cloze_accuracy: 60 questions with one outcome give no standard error" in note for note in found.notes)
    _in_virtual_time(found, builder)


def _in_virtual_time(found: Measurement, builder: VirtualBuilder) -> None:
    """A pass of the fake engine takes 0.25 s: one for a passage, one for each of four lines."""
    assert found.primary == "latency"
    assert list(found.series["latency"]) == [0.25] * 60 + [1.0] * 60
    assert found.metrics["latency_mean_s"].value == 0.625
    assert {name: one["rows"] for name, one in found.details["tasks"].items()} == {"cloze": 60, "choice": 240}
    assert builder.engine is not None
    assert builder.engine.closed and len(builder.engine.calls) == 300
    assert builder.checks == [True]


@needs_harness
def test_labels_that_were_shuffled_are_met_as_often_as_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = items.choices(VALID, count=40, seed=SEED)
    labels = random.Random(0).choices(range(4), k=40)
    shuffled = [replace(item, answer=label) for item, label in zip(asked, labels, strict=True)]
    monkeypatch.setattr(items, "choices", lambda *_, **__: shuffled)
    context, builder = fake(limit=40, tasks=["choice"])
    found = tasks.run(context)
    hits = 0
    for item in shuffled:
        scores = [plain(builder, item.context, "\n" + line)[0] / len(line) for line in item.lines]
        hits += scores.index(max(scores)) == item.answer
    assert found.metrics["choice_accuracy"].value == hits / 40
    assert set(found.details["tasks"]) == {"choice"} and "cloze_accuracy" not in found.metrics


@needs_harness
def test_long_rows_are_cut_on_the_left_and_counted() -> None:
    context, builder = fake(max_tokens=300, limit=30, tasks=["cloze"])
    found = tasks.run(context)
    asked = items.cloze(VALID, count=30, seed=SEED)
    rows = [builder.model.tokenizer.encode(item.context + item.word) for item in asked]
    cut = sum(len(row) > 301 for row in rows)
    assert 0 < cut < 30
    assert found.details["tasks"]["cloze"]["cut_rows"] == cut
    assert f"cloze: {cut} of 30 rows were longer than the model and cut on the left" in found.notes
    assert builder.engine is not None
    assert [ids[0].tolist() for ids in builder.engine.calls] == [row[-301:-1] for row in rows]


@needs_harness
def test_a_task_of_ones_own_is_scored_like_a_plain_loop(tmp_path: Path) -> None:
    metrics = [
        {"metric": name, "aggregation": how, "higher_is_better": name == "acc"}
        for name, how in (("perplexity", "perplexity"), ("acc", "mean"))
    ]
    path = written(tmp_path, rows=ROWS, metric_list=metrics, **LIKELIHOOD)
    context, builder = fake(tasks=[path, "cloze"], limit=4)
    found = tasks.run(context)
    kept = found.details["tasks"]["mine"]
    scores = [plain(builder, row["text"], row["word"]) for row in ROWS[:4]]
    assert kept["n"] == 4
    assert kept["metrics"]["perplexity"]["value"] == pytest.approx(float(np.exp(-np.mean([score for score, _ in scores]))))
    assert kept["metrics"]["perplexity"]["higher_is_better"] is False
    assert kept["metrics"]["acc"]["value"] == np.mean([greedy for _, greedy in scores])
    assert "cloze_accuracy" in found.metrics and "choice_accuracy" not in found.metrics


@needs_harness
def test_whole_texts_are_scored_in_windows_that_predict_every_token_once(tmp_path: Path) -> None:
    path = written(
        tmp_path, rows=[{"text": VALID[:100]}], output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{text}}"
    )
    context, builder = fake(max_tokens=32, tasks=[path])
    found = tasks.run(context)
    text = builder.model.tokenizer.encode(VALID[:100].rstrip("\n"))
    ids = [builder.model.tokenizer.encode("\n")[0], *text]
    total = 0.0
    for start in range(0, len(text), 32):
        first = min(start, max(len(text) - 32, 0))
        seen = ids[first : start + 32]
        logits = builder.model.module(np.array([seen]), np.arange(len(seen)))[0][0].astype(float)
        for place in range(start, min(start + 32, len(text))):
            row = logits[place - first]
            total += row[text[place]] - np.log(np.exp(row).sum())
    kept = found.details["tasks"]["mine"]["metrics"]["bits_per_byte"]["value"]
    assert kept == pytest.approx(-total / len(VALID[:100].rstrip("\n").encode()) / np.log(2), rel=1e-6)


def recorded(kind: str, options: dict[str, Any], corpus: str = "python-reference", **params: Any) -> Record:
    case = Case(
        suite="suites/x.suite.yaml",
        name="cell",
        workload="tasks",
        params=TasksParams.model_validate(params).model_dump(),
        model=Choice(name=kind, kind=kind, options=options),
        backend=Choice(name="torch", kind="torch"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": corpus},
    )
    record = execute(case, Setting(environment="e", machine_class="m"), lambda _: None)
    assert record.failure is None, record.failure
    return record


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text of 320 different words in lines of eight, over and over: every word says which one is next."""
    draw = random.Random(1)
    words = list({"".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)): None for _ in range(400)})[:320]
    lines = [" ".join(words[start : start + 8]) for start in range(0, 320, 8)]
    path = tmp_path_factory.mktemp("circle") / "circle.txt"
    path.write_text(("\n".join(lines) + "\n") * 40)
    return str(path)


@needs_harness
@pytest.mark.parametrize(("order", "asked"), [(2, ["cloze"]), (3, ["cloze", "choice"])])
def test_a_model_that_knows_what_follows_is_always_right(circle: str, order: int, asked: list[str]) -> None:
    record = recorded("n-gram", {"order": order, "tokenizer": "bpe-8192"}, circle, tasks=asked, limit=30)
    assert {name: record.metrics[f"{name}_accuracy"].value for name in asked} == dict.fromkeys(asked, 1.0)
    assert record.details["tasks"]["cloze"]["rows"] == 30


@needs_harness
def test_a_decoder_with_bpe_is_scored_like_its_module_and_its_record_is_judged_exactly() -> None:
    import torch

    from lmbench.models import decoder

    options = {"layers": 2, "hidden": 32, "tokenizer": "bpe", "max_tokens": 256, "train_steps": 30}
    record = recorded("decoder", options, tasks=["choice"], limit=25)
    corpus = corpora.load({"source": "python-reference"})
    model = decoder.build("decoder", options, corpus, record.case.seed)
    right = 0
    for item in items.choices(corpus.valid_text, count=25, seed=record.case.seed):
        scores = []
        for line in item.lines:
            ids = model.tokenizer.encode(f"{item.context}\n{line}")[-257:]
            known = len(model.tokenizer.encode(item.context)) - len(model.tokenizer.encode(f"{item.context}\n{line}")) + len(ids)
            with torch.no_grad():
                logits = model.module(torch.tensor([ids[:-1]]), torch.arange(len(ids) - 1), *model.empty_state(1))[0][0]
            chances = logits.double().log_softmax(-1)
            scores.append(sum(float(chances[place - 1, ids[place]]) for place in range(known, len(ids))) / len(line))
        right += scores.index(max(scores)) == item.answer
    assert record.metrics["choice_accuracy"].value == right / 25
    assert record.metrics["perplexity"].value, "the subject was checked"
    again = from_json(to_json(record))
    assert _judged(again, again, right / 25) == "ok"
    assert _judged(again, again, right / 25 - 0.08) == "regressed"


def _judged(record: Record, stored: Record, value: float) -> str:
    changed = replace(record.metrics["choice_accuracy"], value=value)
    now = replace(record, metrics={**record.metrics, "choice_accuracy": changed})
    return next(found.outcome for found in compare_case(now, [stored]) if found.metric == "choice_accuracy")


@needs_harness
def test_a_quick_round_asks_two_of_each() -> None:
    context, _ = fake(once=True)
    assert {name: one["n"] for name, one in tasks.run(context).details["tasks"].items()} == {"cloze": 2, "choice": 2}


def _absent(_: Path) -> list[str]:
    return ["absent.yaml"]


def _unknown(_: Path) -> list[str]:
    return ["hellaswagg"]


def _remote(_: Path) -> list[str]:
    return ["hellaswag"]


def _generating(folder: Path) -> list[str]:
    return [written(folder, rows=ROWS, output_type="generate_until", doc_to_text="{{text}}", doc_to_target="{{word}}")]


def _twice(folder: Path) -> list[str]:
    return ["cloze", written(folder, "cloze", rows=ROWS, **LIKELIHOOD)]


def _dataless(folder: Path) -> list[str]:
    path = written(folder, rows=ROWS, **LIKELIHOOD)
    (folder / "mine.jsonl").unlink()
    return [path]


def _unreadable(folder: Path) -> list[str]:
    (folder / "bad.yaml").write_text("task: [")
    return [str(folder / "bad.yaml")]


def _damaged(folder: Path) -> list[str]:
    path = written(folder, rows=ROWS, **LIKELIHOOD)
    (folder / "mine.jsonl").write_text('{"text": ')
    return [path]


def _untemplated(folder: Path) -> list[str]:
    return [written(folder, rows=ROWS, **LIKELIHOOD | {"doc_to_text": "{{text"})]


def _unsafe(folder: Path) -> list[str]:
    return [written(folder, rows=ROWS, unsafe_code=True, **LIKELIHOOD)]


def _nothing_to_score(folder: Path) -> list[str]:
    return [written(folder, rows=[{"text": "a", "word": ""}], **LIKELIHOOD)]


@needs_harness
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (_absent, "found task file 'absent.yaml', which is not in .*/suites; expected a task's YAML file"),
        (_unknown, "the unknown task 'hellaswagg'; expected cloze, choice, a YAML file .* Did you mean 'hellaswag'?"),
        (_remote, "'hellaswag', which lm-eval cannot load .*nothing is downloaded"),
        (_generating, "of output type generate_until; expected loglikelihood, .*; leave this task out"),
        (_twice, "found 'cloze' twice in tasks"),
        (_dataless, "'.*mine.yaml', which lm-eval cannot load .*nothing is downloaded"),
        (_unreadable, "'.*bad.yaml', which lm-eval cannot load"),
        (_damaged, "'.*mine.yaml', which lm-eval cannot load .*nothing is downloaded"),
        (_untemplated, r"'.*mine.yaml', which lm-eval cannot load \(TemplateSyntaxError"),
        (_unsafe, "which runs code that a model wrote"),
        (_nothing_to_score, "found 1 tokens of context and 0 to score"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(tmp_path: Path, names: Callable[[Path], list[str]], message: str) -> None:
    context, builder = fake(tasks=names(tmp_path))
    with pytest.raises(WorkloadError, match=message):
        tasks.run(context)
    assert builder.engine is not None and builder.engine.closed


@needs_harness
def test_an_answer_longer_than_the_model_is_refused() -> None:
    context, _ = fake(max_tokens=8, tasks=["choice"])
    with pytest.raises(WorkloadError, match=r"tokens of context and \d+ to score.*at most 8 to score"):
        tasks.run(context)


@needs_harness
def test_nothing_is_generated() -> None:
    from lmbench.workloads.tasks_model import SubjectModel

    context, builder = fake()
    with pytest.raises(WorkloadError, match="found a task that generates text"):
        SubjectModel(builder.subject(), context.clock, context.progress).generate_until([])


@needs_harness
def test_a_model_that_predicts_hidden_tokens_is_refused() -> None:
    context, builder = fake()
    model: Any = builder.model
    builder.model = replace(model, facts=replace(model.facts, objective="masked"))
    with pytest.raises(WorkloadError, match=r"predicts hidden tokens; expected one that predicts the next.*scoring"):
        tasks.run(context)


def test_without_the_harness_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_load, "find_spec", lambda _: None)
    context, builder = fake()
    with pytest.raises(Unavailable, match=r"pip install 'pytest-lmbench\[lm-eval\]'"):
        tasks.run(context)
    assert builder.engine is None, "before anything is built"


def test_families_that_predict_hidden_tokens_are_skipped() -> None:
    context, _ = fake()
    case = replace(context.case, model=Choice(name="e", kind="encoder"), backend=Choice(name="torch", kind="torch"))
    found = obstacle(case)
    assert found is not None
    assert found.startswith("encoder predicts hidden tokens and answers no prompt, so tasks cannot measure it; use ")


@pytest.mark.parametrize("params", [{"tasks": []}, {"limit": 0}, {"few_shot": 3}])
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TasksParams.model_validate(params)
