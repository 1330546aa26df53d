"""Tasks for lm-evaluation-harness: two made of the case's own text, others by file or name; nothing is downloaded."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from yaml import YAMLError

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.base.reading import is_file
from lmbench.base.registry import nearest
from lmbench.data import items
from lmbench.data.items import Choice, Cloze

CLOZE, CHOICE = "cloze", "choice"
TASK_FILES = (".yaml", ".yml")
ENVIRONMENT = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "DISABLE_MULTIPROC": "1"}
"""Read by `datasets`, by `huggingface_hub`, and by the harness before it forks this process to draw bootstrap samples."""
SCORED = ("loglikelihood", "loglikelihood_rolling", "multiple_choice")
LIKELIEST_PER_CHARACTER = "acc_norm"
GREEDY = "acc"
DOCUMENT = (TemplateError, YAMLError)
"""What a task's file and the templates in it raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What `cloze` and `choice` are made of, and how many."""

    text: str
    items: int
    seed: int


def require_harness() -> None:
    """Raise Unavailable where lm_eval is not installed."""
    if find_spec("lm_eval") is None:
        raise Unavailable("lm-eval is not installed", "run: pip install 'pytest-lmbench[lm-eval]'")


@contextmanager
def offline() -> Iterator[None]:
    """While the harness works, nothing is downloaded, and its log lines and progress bars stay off the terminal."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    disabled = logging.root.manager.disable
    os.environ.update(ENVIRONMENT)
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _switched_off():
            yield
    finally:
        logging.disable(disabled)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _switched_off() -> Iterator[None]:
    """The libraries read the environment when they are imported, which may have been long ago."""
    import datasets
    import huggingface_hub.constants as hub

    before = datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = before


def load(names: Sequence[str], source: Source, beside: Path) -> dict[str, dict[str, Any]]:
    """{'tasks': ..., 'groups': ..., 'group_map': ...} of lm_eval by name, `cloze` and `choice` of the source's text.

    Other names are files of tasks (relative ones beside `beside`) or registered with lm-eval, whose data must be on this
    machine. Raises WorkloadError for what cannot be loaded or needs more than likelihoods.
    """
    manager = _manager(any(name not in BUILT_IN and not name.endswith(TASK_FILES) for name in names))
    loaded: dict[str, dict[str, Any]] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in names:
        found = _load(manager, name, source, beside)
        twice = sorted(found["tasks"].keys() & loaded["tasks"].keys())
        if twice:
            raise WorkloadError(
                f"found {twice[0]!r} twice in tasks {list(names)}; expected different tasks; rename or leave out one"
            )
        for kind, members in loaded.items():
            members.update(found[kind])
    for name, task in loaded["tasks"].items():
        _require_scored(name, task)
    return loaded


@cache
def _manager(registered: bool) -> Any:
    """The harness's loader; to know its thousands of registered tasks by name it reads all their files, for seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=registered)


def _load(manager: Any, name: str, source: Source, beside: Path) -> Mapping[str, dict[str, Any]]:
    if name in BUILT_IN:
        found: Mapping[str, dict[str, Any]] = manager.load([BUILT_IN[name](source)])
        return found
    file = name.endswith(TASK_FILES)
    if file and not is_file(beside / name):
        raise WorkloadError(f"found task file {name!r}, which is not in {beside.resolve()}; expected a task's YAML file there")
    if not file and name not in manager.all_tasks:
        hint = nearest(name, [*BUILT_IN, *manager.all_tasks])
        raise WorkloadError(
            f"found the unknown task {name!r}; expected {CLOZE}, {CHOICE}, a YAML file or a task of lm-eval. {hint}"
        )
    from datasets.exceptions import DatasetsError

    faults = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, TypeError, ValueError, *DOCUMENT, DatasetsError)
    try:
        found = manager.load([str(beside / name) if file else name])
    except faults as error:
        raise WorkloadError(
            f"found task {name!r}, which lm-eval cannot load ({type(error).__name__}: {error}); expected a task whose data is on "
            "this machine (nothing is downloaded): see dataset_path and dataset_kwargs of lm-eval's task guide"
        ) from error
    return found


def _require_scored(name: str, task: Any) -> None:
    if task.OUTPUT_TYPE not in SCORED:
        raise WorkloadError(
            f"found task {name!r} of output type {task.OUTPUT_TYPE}; expected {', '.join(SCORED)}: a subject is asked for "
            "likelihoods here, it does not generate; leave this task out"
        )
    for flag, what in (("UNSAFE_CODE", "runs code that a model wrote"), ("MULTIMODAL", "holds images or sound")):
        if getattr(task, flag, False):
            raise WorkloadError(f"found task {name!r}, which {what}; expected one of text and likelihoods; leave this task out")


def _cloze(source: Source) -> Any:
    found = items.cloze(source.text, count=source.items, seed=source.seed)
    metrics = {GREEDY: ("mean", True), "perplexity": ("perplexity", False)}
    return _made(CLOZE, found, metrics, output_type="loglikelihood", doc_to_target="word")


def _choice(source: Source) -> Any:
    found = items.choices(source.text, count=source.items, seed=source.seed)
    asked = {"output_type": "multiple_choice", "doc_to_choice": "lines", "doc_to_target": "answer", "target_delimiter": "\n"}
    return _made(CHOICE, found, {LIKELIEST_PER_CHARACTER: ("mean", True), "acc": ("mean", True)}, **asked)


def _made(name: str, found: Sequence[Cloze | Choice], metrics: Mapping[str, tuple[str, bool]], **asked: str) -> Any:
    """A task of items in memory, whose fields are the columns the harness reads; metrics are (aggregation, higher is better)."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    rows = [asdict(item) for item in found]
    listed = [{"metric": key, "aggregation": how, "higher_is_better": higher} for key, (how, higher) in metrics.items()]
    config = {"task": name, "test_split": "test", "doc_to_text": "context", "metric_list": listed, **asked}
    return ConfigurableTask(config={**config, "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)}})


BUILT_IN: Mapping[str, Callable[[Source], Any]] = {CLOZE: _cloze, CHOICE: _choice}
