"""Workers of real engines under OMP_NUM_THREADS=1: each computes with one thread, and every record says so and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lmbench.base.threads import LIMIT, VARIABLES
from lmbench.plan.case import Case, Choice
from lmbench.record.record import Record
from lmbench.record.thread_use import threads_of
from lmbench.run.execute import Setting
from lmbench.run.isolate import run_isolated
from lmbench.suite.params import LatencyParams

ROOT = Path(__file__).parents[2]
TINY = {"size": "nano", "tokenizer": "bytes", "train_steps": 0}
QUICK = {"min_rounds": 2, "max_rounds": 2, "max_time_s": 0.1, "min_warmup_rounds": 1, "max_warmup_s": 0.1}
SETTING = Setting(environment="e", machine_class="m", hz=50.0, once=True)


def measured(engine: str, **options: object) -> Record:
    params = LatencyParams.model_validate({"prompt_tokens": 4, "output_tokens": 3, "budget": QUICK})
    case = Case(
        suite="s.suite.yaml",
        name="one",
        workload="latency",
        params=params.model_dump(),
        model=Choice(name="nano", kind="decoder", options=TINY),
        backend=Choice(name=engine, kind=engine, options=options),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )
    record = run_isolated(case, SETTING, lambda _: None, ROOT)
    assert record.failure is None, record.failure
    return record


def test_the_user_s_setting_is_in_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for name in (*VARIABLES, LIMIT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    record = measured("onnxruntime")
    assert threads_of(record) == 1
    assert record.subject["threads"]["source"] == "OMP_NUM_THREADS=1"
    assert record.subject["engine"]["threads"] == record.subject["threads"]["used"] == 1


MODULES = (("torch", "torch"), ("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("llama-cpp", "llama_cpp"))
ENGINES = """
import json, sys
from lmbench.base.registry import BACKENDS, MODELS, resolve
from lmbench.compress import none
from lmbench.data import corpora
corpus = corpora.load({"source": "python-reference"})
model = resolve(MODELS["decoder"].target)("nano", {"size": "nano", "tokenizer": "bytes", "train_steps": 0}, corpus, 0)
found = {}
for name in sys.argv[1:]:
    engine = resolve(BACKENDS[name].target)(model, none.build({}), {})
    found[name] = engine.describe()["threads"]
    engine.close()
print("found", json.dumps(found))
"""


def test_every_engine_of_this_environment_obeys_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those that are installed; compiled ones, whose loading takes a compiler, share their settings with torch."""
    engines = [name for name, module in MODULES if _has(module)]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    assert engines, "the tests run where at least torch is installed"
    command = [sys.executable, "-c", ENGINES, *engines]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = next(line for line in done.stdout.splitlines() if line.startswith("found "))
    assert json.loads(told.removeprefix("found ")) == dict.fromkeys(engines, 1)


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
