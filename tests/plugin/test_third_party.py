"""An engine, a level, a model and a workload of somebody else's distribution: installed, named in a suite, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

NAME = "acme_engines"
CODE = '''
"""What another distribution brings: a backend that answers like the fake model, a level, a model and a workload."""

from typing import Any

import numpy as np

from lmbench.base.entry import Entry
from lmbench.base.seams import Bound
from lmbench.suite.params import Params


class EngineOptions(Params):
    gain: float | None = None


class Nothing(Params):
    pass


engine = Entry(target="acme_engines:Engine", about="by acme", options="acme_engines:EngineOptions", takes=("fake",), weights="acme")
level = Entry(target="acme_engines:Level", about="as acme has it", options="acme_engines:Nothing", takes=("fake",), ways=("acme",))
model = Entry(target="acme_engines:build", about="acme's own", options="acme_engines:Nothing", form="fake", reference="fake")
workload = Entry(target="acme_engines:run", about="one pass", options="acme_engines:Nothing")
not_an_entry = "text"


class Engine:
    def __init__(self, model: Any, method: Any, options: Any) -> None:
        self.model, self.gain = model, options.get("gain", 1.0)

    def forward(self, ids: Any, positions: Any, state: Any) -> Any:
        logits, *after = self.model.module(ids, positions, *state)
        return np.asarray(logits, dtype=np.float32) * self.gain, tuple(after)

    def empty_state(self, batch: int) -> Any:
        return self.model.empty_state(batch)

    def describe(self) -> Any:
        return {"engine": "acme", "version": "1", "device": "cpu", "dtype": "float32", "state_dtype": "float32"}

    def close(self) -> None:
        pass


class Level:
    name, lineage, precision, sparse = "acme-level", {"method": "acme-level"}, "fp32", False
    bound = Bound(kl_max=1e-6, top1_min=1.0, perplexity_ratio_max=1.001)

    def __init__(self, options: Any, corpus: Any, seed: int) -> None:
        pass

    def on_model(self, model: Any, weights: str) -> Any:
        return model

    def on_file(self, model: Any, path: Any, folder: Any, weights: str) -> Any:
        return path


def build(name: str, options: Any, corpus: Any, seed: int) -> Any:
    from lmbench.models.fake import build

    return build(name, {"vocab_size": 31}, corpus, seed)


def run(context: Any) -> Any:
    from lmbench.measure.measurement import Measurement, as_mapping, metric

    subject = context.build.subject()
    subject.logits(np.zeros((1, 4), dtype=np.int64))
    subject.close()
    return Measurement(metrics=as_mapping([metric("parameters", 7)]), series={"latency": (0.25,)}, primary="latency")
'''
POINTS = """
[lmbench.backends]
acme = acme_engines:engine
fake = acme_engines:engine
broken = acme_engines:no_such_thing
wrong = acme_engines:not_an_entry
[lmbench.compressions]
acme-level = acme_engines:level
[lmbench.models]
acme-model = acme_engines:model
[lmbench.workloads]
acme-pass = acme_engines:run_entry
"""
SUITE = """
models:
  theirs: {model: acme-model}
backends:
  loud: {backend: acme, gain: 1.0}
matrix:
  model: [theirs]
  backend: [loud]
  compression: [none, acme-level]
cases:
  talk: {workload: latency, prompt_tokens: 8, output_tokens: 2}
  once: {workload: acme-pass}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the distribution."""
    folder = tmp_path_factory.mktemp("acme")
    wheel = folder / f"{NAME}-1.0-py3-none-any.whl"
    info = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{NAME}.py", CODE)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", POINTS.replace("run_entry", "workload"))
        archive.writestr(f"{info}/RECORD", "")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    return folder / "site"


def command(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "LMBENCH_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )


def test_an_installed_engine_level_model_and_workload_are_used_by_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    done = command(
        site,
        tmp_path,
        "pytest",
        "a.suite.yaml",
        "--benchmark-disable",
        "-q",
        "--benchmark-storage=file://./stored",
        "-p",
        "no:cacheprovider",
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_workload_that_names_nothing_for_pairs_is_compared_with_one_run_of_the_base(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=n", "-c", "user.email=n@example.org", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    with (tmp_path / "a.suite.yaml").open("a") as suite:
        suite.write("# one commit without a change would not be compared\n")
    asked = ("-q", "-k", "once", "--lmbench-gate=HEAD", "--benchmark-storage=file://./stored", "-p", "no:cacheprovider")
    done = command(site, tmp_path, "pytest", "a.suite.yaml", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 2 cases to pair" in done.stdout + done.stderr
    verdicts = json.loads((tmp_path / "reports" / "verdicts.json").read_text())
    assert {one["metric"]: one["outcome"] for one in verdicts["verdicts"]}["parameters"] == "ok"


def test_a_wrong_answer_of_an_installed_engine_is_an_error(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.suite.yaml").write_text(SUITE.replace("gain: 1.0", "gain: 3.0"))
    done = command(site, tmp_path, "pytest", "a.suite.yaml", "--benchmark-disable", "-q", "-k", "talk", "-p", "no:cacheprovider")
    assert "2 failed" in done.stdout, done.stdout + done.stderr
    assert "is not faithful" in done.stdout


def test_its_options_are_checked_with_file_and_line(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.suite.yaml").write_text(SUITE.replace("gain", "gian"))
    done = command(site, tmp_path, "lmbench", "suites", "validate", "a.suite.yaml")
    assert done.returncode == 1
    assert "a.suite.yaml:5: backends.loud.gian" in done.stdout + done.stderr


def test_what_cannot_be_used_is_left_out_and_named(site: Path, tmp_path: Path) -> None:
    script = "import json; from lmbench.base.registry import BACKENDS; print(json.dumps([BACKENDS['fake'].about, *BACKENDS]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    about, *names = json.loads(done.stdout)
    assert about == "a deterministic stand-in for tests"
    assert "acme" in names
    assert {"broken", "wrong"} & set(names) == set()
    for words in (
        "'fake' of acme_engines (lmbench.backends) is left out: the name is taken",
        "no_such_thing",
        "found a str, expected an lmbench Entry",
    ):
        assert words in done.stderr
