"""cold_start with real processes: parts that add up, what a file of the engine's own leaves out, failures that say why."""

from __future__ import annotations

from typing import Any

import pytest

from lmbench.plan.case import Case, Choice
from lmbench.record.record import Record
from lmbench.run.execute import Setting, execute
from lmbench.suite.params import ColdStartParams
from lmbench.workloads.cold_start import PARTS


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def ran(model: str, backend: str, options: dict[str, Any] | None = None, **params: Any) -> Record:
    case = Case(
        suite="s",
        name="start",
        workload="cold_start",
        params=ColdStartParams(**{"starts": 2, "prompt_tokens": 4, **params}).model_dump(),
        model=Choice(name=model, kind=model, options={"size": "nano"} if model == "decoder" else {}),
        backend=Choice(name=backend, kind=backend, options=options or {}),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )
    return execute(case, Setting(environment="e", machine_class="m"), lambda _: None)


def test_the_parts_add_up_and_every_start_is_a_sample() -> None:
    record = ran("fake", "fake")
    assert record.failure is None
    series = record.series
    assert set(series) == {*PARTS, "cold_start"}
    for index in range(2):
        assert series["cold_start"][index] == pytest.approx(sum(series[part][index] for part in PARTS))
    assert all(seconds >= 0 for values in series.values() for seconds in values)
    assert min(series["startup"]) > 0.01, "an interpreter takes longer than that"
    assert record.metrics["cold_start_p50_s"].n == 2
    startup = record.metrics["startup_s"].value
    assert startup is not None
    assert startup >= min(series["startup"])
    assert record.metrics["perplexity"].value, "the subject was checked before it was started"


def test_building_the_model_counts_only_where_the_engine_has_no_file() -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed; run: pip install 'pytest-lmbench[onnx]'")
    module, file = ran("decoder", "torch", starts=1), ran("decoder", "onnxruntime", starts=1)
    assert (module.failure, file.failure) == (None, None)
    assert module.series["build"][0] > 0
    assert file.series["build"] == (0.0,)
    assert module.metrics["export_s"].value is None
    export_s = file.metrics["export_s"].value
    assert export_s is not None
    assert export_s > file.metrics["load_s"].value > 0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "said"), [({"crash": "exception"}, "raises on every forward"), ({"crash": "segfault"}, "status -11")]
)
def test_a_start_that_fails_is_told_with_its_last_words(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmbench.run.build import CaseBuilder

    whole = CaseBuilder.subject

    def here(self: CaseBuilder, *, check: bool = True) -> Any:
        """In this process the engine works, so that only the start fails."""
        broken = self.case
        self.case = Case(
            **{
                **{name: getattr(broken, name) for name in broken.__dataclass_fields__},
                "backend": Choice(name="fake", kind="fake"),
            }
        )
        try:
            return whole(self, check=check)
        finally:
            self.case = broken

    monkeypatch.setattr(CaseBuilder, "subject", here)
    record = ran("fake", "fake", options)
    assert record.failure is not None
    assert said in record.failure.message


def test_a_start_that_takes_too_long_is_an_error() -> None:
    record = ran("fake", "fake", start_timeout_s=0.01)
    assert record.failure is not None
    assert "no first token 0.01 s after" in record.failure.message
