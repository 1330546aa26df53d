"""Cases of the models that predict hidden tokens, run from plan to record: trained by their own objective, measured, scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lmbench.plan.case import Case, Choice
from lmbench.record.record import Record
from lmbench.run.execute import Setting, execute
from lmbench.suite.schemas import WORKLOAD_PARAMS

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "encoder": {"size": "nano", "max_tokens": 64},
    "bilstm": {"size": "tiny", "max_tokens": 64, "tokenizer": "bytes"},
    "decoder": {"size": "nano", "max_tokens": 64},
}
KINDS = ["encoder", "bilstm"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of this module."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("LMBENCH_CACHE", str(folder))
    yield folder
    patch.undo()


def recorded(kind: str, workload: str, **params: Any) -> Record:
    case = Case(
        suite="suites/x.suite.yaml",
        name="cell",
        workload=workload,
        params=WORKLOAD_PARAMS[workload].model_validate(params).model_dump(),
        model=Choice(name=kind, kind=kind, options=OPTIONS[kind]),
        backend=Choice(name="torch", kind="torch"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )
    record = execute(case, Setting(environment="e", machine_class="m", once=True), lambda _: None)
    assert record.failure is None, record.failure
    return record


@pytest.mark.parametrize("kind", KINDS)
def test_training_steps_start_from_the_uniform_guess_and_go_down(kind: str) -> None:
    record = recorded(kind, "training_step", batch=8, tokens=32, accumulate=2, learning_rate=0.01)
    before, after = (record.metrics[name].value for name in ("loss_before", "loss_after"))
    assert before == pytest.approx(5.55, abs=0.2)  # ln 256
    assert after is not None
    assert before is not None
    assert after < before
    assert record.subject["facts"]["objective"] == "masked"


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_measured_without_a_state(kind: str) -> None:
    record = recorded(kind, "memory", tokens=32, training=True)
    assert record.metrics["state_bytes_per_token"].value is None
    assert "carries no state" in record.metrics["state_bytes_per_token"].reason
    assert record.metrics["weights_bytes"].value == record.metrics["weights_estimate_bytes"].value
    assert record.metrics["gradient_bytes"].value == record.metrics["weights_bytes"].value
    assert record.metrics["masked_perplexity" if kind == "encoder" else "pseudo_perplexity"].value


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_carries_the_fidelity_of_its_kind(kind: str) -> None:
    record = recorded(kind, "scoring", tokens=32)
    assert record.metrics["masked_perplexity" if kind == "encoder" else "pseudo_perplexity"].value
    assert record.metrics["perplexity"].value is None
    assert record.metrics["scored_tokens_per_s"].value
    assert any("8 passes" in note for note in record.notes) == (kind == "encoder")


def test_scoring_works_for_causal_models_too() -> None:
    record = recorded("decoder", "scoring", tokens=32)
    assert record.metrics["perplexity"].value
    assert "masked_perplexity" not in record.metrics
