"""data_parallel with real processes: they train what one process would, what is lost is told apart, and whoever dies is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import WorkloadError
from lmbench.base.registry import BACKENDS
from lmbench.data import corpora
from lmbench.data.prompts import batches
from lmbench.plan.case import Case, Choice
from lmbench.plan.select import obstacle
from lmbench.record.record import Record
from lmbench.run.execute import Setting, execute
from lmbench.subject import build
from lmbench.suite.params import DataParallelParams
from lmbench.workloads import data_parallel, replicas

pytest.importorskip("torch", reason="torch is not installed; run: pip install 'pytest-lmbench[torch]'")
BUDGET = {"min_rounds": 4, "max_rounds": 4, "min_warmup_rounds": 1, "max_warmup_s": 0.01}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def case(model: str = "decoder", backend: str = "torch", options: dict[str, Any] | None = None, **params: Any) -> Case:
    return Case(
        suite="s",
        name="parallel",
        workload="data_parallel",
        params=DataParallelParams(**{"batch": 2, "tokens": 8, "learning_rate": 1e-2, "budget": BUDGET, **params}).model_dump(),
        model=Choice(name=model, kind=model, options={"size": "nano"}),
        backend=Choice(name=backend, kind=backend, options=options or {}),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


def ran(asked: Case, *, once: bool = False) -> Record:
    return execute(asked, Setting(environment="e", machine_class="m", once=once), lambda _: None)


def value(record: Record, name: str) -> float:
    found = record.metrics[name].value
    assert found is not None
    return found


@pytest.fixture(scope="module")
def record() -> Record:
    return ran(case())


def test_two_processes_train_what_one_does_with_both_their_batches(record: Record) -> None:
    assert record.failure is None, record.failure
    asked = case()
    corpus = corpora.load(asked.corpus)
    model = build.load_model(asked, corpus)
    one = build.build_trainer(asked, model, build.load_level(asked, corpus), learning_rate=1e-2, precision="fp32").trainer
    train, valid = (np.asarray(model.tokenizer.encode(text)) for text in (corpus.train_text, corpus.valid_text))
    fixed = next(batches(valid, batch=2, tokens=8, seed=0))
    parts = [batches(train, batch=2, tokens=8, seed=seed) for seed in (0, 1)]
    assert value(record, "loss_before") == pytest.approx(one.loss(*fixed), rel=1e-5)
    for _ in range(data_parallel.FIXED_STEPS):
        (ids, targets), (more, wanted) = (next(part) for part in parts)
        norm = one.step(np.concatenate([ids, more]), np.concatenate([targets, wanted]))[1]
    assert value(record, "loss_after") == pytest.approx(one.loss(*fixed), rel=1e-3)
    assert value(record, "gradient_norm") == pytest.approx(norm, rel=1e-2)
    assert value(record, "loss_after") < value(record, "loss_before")


def test_what_is_lost_is_told_apart_and_adds_up(record: Record) -> None:
    series = record.series
    assert {name: len(values) for name, values in series.items()} == {"step": 4, "step_apart": 4, "step_alone": 4}
    efficiency = sum(series["step_alone"]) / sum(series["step"])
    assert value(record, "scaling_efficiency") == pytest.approx(efficiency)
    kept = (1 - value(record, "contention_share")) * (1 - value(record, "exchange_share"))
    assert kept == pytest.approx(efficiency)
    assert value(record, "trained_tokens_per_s") == pytest.approx(2 * 2 * 8 * 4 / sum(series["step"]))
    low, high = record.details["efficiency_interval"]
    assert low < efficiency < high
    assert any("95 % interval" in note for note in record.notes)
    assert record.details["trainer"]["exchange"] == "gloo"
    assert value(record, "gradient_bytes") == 4 * value(record, "parameters")


def test_weights_that_no_token_leads_to_are_no_obstacle() -> None:
    found = ran(case("moe"), once=True)
    assert found.failure is None, found.failure
    assert not any("95 % interval" in note for note in found.notes), "one round has no spread"


def test_a_process_that_ends_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "CHILD", "this")
    found = ran(case(), once=True).failure
    assert found is not None
    assert "of 2 that train together: it ended" in found.message
    assert "Namespaces are one honking great idea" in found.message


class Wrong:
    """Processes of which one does not exchange its gradient."""

    def first(self, _: str) -> dict[str, float]:
        return {"loss": 2.0, "norm": 1.0}

    def all(self, _: str) -> list[dict[str, float]]:
        return [{"loss": 1.5, "norm": 1.0}, {"loss": 2.5, "norm": 1.3}]


def test_a_gradient_that_is_not_that_of_one_process_is_an_error() -> None:
    with pytest.raises(WorkloadError, match=r"gradient norm of 1.3 in 2 processes; expected 1 as in one process"):
        data_parallel._require_the_gradient_of_one(Wrong(), 1e-4)  # type: ignore[arg-type]


def test_processes_share_the_cpus_and_say_when_they_crowd_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    cases, notes = data_parallel._cases(case(), 2)
    assert [one.backend.options["threads"] for one in cases] == [4, 4]
    assert notes == ()
    assert data_parallel._cases(case(options={"threads": 4}), 3)[1] == (
        "3 processes of 4 threads share 8 CPUs: they wait for each other",
    )
    devices = [one.backend.options["device"] for one in data_parallel._cases(case(options={"device": "cuda"}), 2)[0]]
    assert devices == ["cuda:0", "cuda:1"]


def test_a_backend_that_trains_alone_only_is_skipped_with_the_reason() -> None:
    assert BACKENDS["torch-compile"].replica is None
    assert obstacle(case(backend="torch-compile")) == "torch-compile does not train in several processes; use torch"
