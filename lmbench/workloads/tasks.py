"""tasks: how many questions a subject answers rightly, a cloze and a multiple choice of its own text, through lm-eval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmbench.base.errors import WorkloadError
from lmbench.base.seams import CAUSAL
from lmbench.data import corpora
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import distribution
from lmbench.subject.protocol import Subject
from lmbench.suite.params import TasksParams
from lmbench.workloads.context import Context
from lmbench.workloads.facts import peak_rss
from lmbench.workloads.tasks_load import CHOICE, CLOZE, GREEDY, LIKELIEST_PER_CHARACTER, Source, load, offline, require_harness

ACCURACY: Mapping[str, tuple[str, str]] = {
    "cloze_accuracy": (CLOZE, GREEDY),
    "choice_accuracy": (CHOICE, LIKELIEST_PER_CHARACTER),
}
"""Metrics of the catalogue: which task, and its name in lm-eval."""
BOOTSTRAP = 1000
"""Draws for the standard error of what is not a mean; means have a formula."""
ONCE_ITEMS = 2
Scores = dict[str, dict[str, Any]]


def run(context: Context) -> Measurement:
    """Every item of every task, one after the other; `latency` is one item, all its rows. Raises Unavailable without lm_eval."""
    params = TasksParams.model_validate(context.case.params)
    require_harness()
    subject = context.build.subject()
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def _measure(context: Context, params: TasksParams, subject: Subject) -> Measurement:
    facts = subject.model.facts
    if facts.objective != CAUSAL:
        raise WorkloadError(
            f"found model {facts.name!r}, which predicts hidden tokens; expected one that predicts the next, to give a "
            "continuation a likelihood; measure it with scoring"
        )
    from lm_eval.evaluator import evaluate

    from lmbench.workloads.tasks_model import SubjectModel

    limit = ONCE_ITEMS if context.once else params.limit
    source = Source(text=corpora.load(context.case.corpus).valid_text, items=limit, seed=context.case.seed)
    model = SubjectModel(subject, context.clock, context.progress)
    with offline():
        loaded = load(params.tasks, source, Path(context.case.suite).parent)
        for task in loaded["tasks"].values():
            task.set_fewshot_seed(context.case.seed)
        context.progress(f"tasks: {', '.join(loaded['tasks'])}, at most {limit} items each")
        reset_peak()  # the build and its check are not what is measured
        results = evaluate(model, loaded, limit=limit, bootstrap_iters=BOOTSTRAP, log_samples=False)
    scores = _scores(results)
    for name, one in scores.items():
        one |= {"rows": model.rows[name], "cut_rows": model.cut_rows[name]}
    seconds = list(model.seconds.values())
    return Measurement(
        metrics=as_mapping([*_accuracies(scores), *distribution("latency", seconds), peak_rss()]),
        series={"latency": seconds},
        primary="latency",
        details={"tasks": scores, "lm_eval": version("lm_eval"), "max_tokens": facts.max_tokens},
        notes=tuple(_notes(scores)),
    )


def _scores(results: Mapping[str, Any]) -> Scores:
    """{task: {n, metrics: {name: {value, stderr, higher_is_better}}}}; groups come with their tasks.

    lm-eval's keys are 'metric,filter' and 'metric_stderr,filter'; the filter that does nothing is called none.
    """
    scores: Scores = {}
    for task, found in results["results"].items():
        better = results["higher_is_better"].get(task, {})
        metrics = {}
        for key, value in found.items():
            name, comma, kept = key.partition(",")
            if comma and not name.endswith("_stderr"):
                metrics[name if kept == "none" else key] = {
                    "value": _number(value),
                    "stderr": _number(found.get(f"{name}_stderr,{kept}")),
                    "higher_is_better": better.get(name),
                }
        scores[task] = {"n": found.get("sample_len"), "metrics": metrics}
    return scores


def _accuracies(scores: Scores) -> Iterator[Metric]:
    for name, (task, theirs) in ACCURACY.items():
        if task in scores:
            yield metric(name, scores[task]["metrics"][theirs]["value"], n=scores[task]["n"])


def _notes(scores: Scores) -> Iterator[str]:
    for name, (task, theirs) in ACCURACY.items():
        if task not in scores:
            continue
        error, count = scores[task]["metrics"][theirs]["stderr"], scores[task]["n"]
        same = "subjects of one corpus and seed are asked the same ones"
        if error:
            yield f"{name} has a standard error of {error:.3f} over the {count} questions drawn; {same}"
        else:
            yield f"{name}: {count} questions with one outcome give no standard error; raise limit or ask another model"
    for task, one in scores.items():
        if one["cut_rows"]:
            yield f"{task}: {one['cut_rows']} of {one['rows']} rows were longer than the model and cut on the left"


def _number(value: object) -> float | None:
    """None for what lm-eval has no number for."""
    number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if number else None  # type: ignore[arg-type]
