"""Subjects built from cases and checked: the faithful pass with their numbers, the wrong are errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import FidelityError, SubjectError
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.compress import none
from lmbench.data.corpora import Corpus, split
from lmbench.plan.case import Case, Choice
from lmbench.subject import build
from lmbench.subject.probe import plain_answers, probe, reference
from lmbench.subject.protocol import Subject

METRICS = {
    "bits_per_byte",
    "perplexity",
    "perplexity_ratio",
    "kl_divergence",
    "top1_agreement",
    "max_logit_difference",
    "sparsity",
}
NANO = {"size": "nano", "max_tokens": 96}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of this module."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("LMBENCH_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    words = np.random.default_rng(0).choice(["a", "the", "cell", "name", "value", "returns", "is"], size=4000)
    return split("words", " ".join(words) + "\n")


def case(kind: str, backend: str, compression: str = "none", **more: Any) -> Case:
    """A case; `model`, `options` and `level` are the options of model, backend and compression."""
    return Case(
        suite="suites/x.suite.yaml",
        name="cell",
        workload="latency",
        params=more.get("params", {}),
        model=Choice(name=kind, kind=kind, options=more.get("model", NANO if kind == "decoder" else {})),
        backend=Choice(name=backend, kind=backend, options=more.get("options", {})),
        compression=Choice(name=compression, kind=compression, options=more.get("level", {})),
        corpus={"source": "words"},
    )


def valid_ids(model: LanguageModel, corpus: Corpus) -> IntArray:
    return np.array(model.tokenizer.encode(corpus.valid_text), dtype=np.int64)


def checked(wanted: Case, corpus: Corpus) -> Subject:
    model = build.load_model(wanted, corpus)
    subject = loaded(wanted, model)
    assert subject.fidelity.values == {}
    return check(subject, wanted, model, corpus)


def loaded(wanted: Case, model: LanguageModel, corpus: Corpus | None = None) -> Subject:
    level = build.load_level(wanted, corpus)  # type: ignore[arg-type]
    return build.load(wanted, model, build.compress(wanted, model, level), level)


def check(subject: Subject, wanted: Case, model: LanguageModel, corpus: Corpus) -> Subject:
    return build.check(subject, wanted, model, build.load_level(wanted, corpus), valid_ids(model, corpus))


def number(values: Mapping[str, float | None], metric: str) -> float:
    value = values[metric]
    assert value is not None
    return value


def test_a_faithful_fake_passes_with_all_its_numbers(corpus: Corpus) -> None:
    fidelity = checked(case("fake", "fake"), corpus).fidelity
    assert set(fidelity.values) == METRICS
    assert fidelity.values["kl_divergence"] == 0
    assert fidelity.values["top1_agreement"] == 1
    assert fidelity.values["perplexity_ratio"] == pytest.approx(1)
    assert fidelity.values["sparsity"] is None
    assert "removes no weights" in fidelity.reasons["sparsity"]


def test_a_perturbed_engine_is_an_error_not_a_fast_result(corpus: Corpus) -> None:
    with pytest.raises(FidelityError, match=r"kl_divergence is .* at most 1e-06 expected"):
        checked(case("fake", "fake", options={"perturb": 0.3}), corpus)


def test_a_broken_cache_is_seen(corpus: Corpus) -> None:
    wanted = case("fake", "fake")
    model: Any = build.load_model(wanted, corpus)
    forgetful = loaded(wanted, replace(model, module=Forgetful(model.module)))
    with pytest.raises(FidelityError, match="not faithful"):
        check(forgetful, wanted, model, corpus)


class Forgetful:
    """A fake module that loses the last id of its state."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, ids: Any, positions: Any, *state: Any) -> Any:
        logits, after = self.function(ids, positions, *state)
        return logits, after[:, :, :-1]


@pytest.mark.parametrize("compression", ["none", "bf16", "int8-dynamic"])
def test_levels_stay_inside_their_bounds_on_an_untrained_decoder(corpus: Corpus, compression: str) -> None:
    subject = checked(case("decoder", "torch", compression), corpus)
    assert set(subject.fidelity.values) == METRICS
    assert subject.description["lineage"]["method"] == compression
    assert subject.description["facts"]["name"] == "decoder"
    assert subject.description["engine"]["engine"] == "torch"
    subject.close()


def test_onnx_runtime_is_checked_against_the_same_cached_parent(corpus: Corpus, cache: Path) -> None:
    checked(case("decoder", "torch"), corpus).close()
    before = sorted(cache.glob("reference/*"))
    subject = checked(case("decoder", "onnxruntime"), corpus)
    assert number(subject.fidelity.values, "kl_divergence") < 1e-8
    assert sorted(cache.glob("reference/*")) == before
    subject.close()


def test_a_pruned_engine_is_checked_against_the_pruned_module(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = case("decoder", "onnxruntime", "prune-magnitude", level={"sparsity": 0.5})
    subject = checked(wanted, corpus)
    assert 0.1 < number(subject.fidelity.values, "sparsity") < 0.5
    model = build.load_model(wanted, corpus)
    monkeypatch.setattr(build, "plain_answers", lambda case, _, asked: plain_answers(case, model, asked))
    with pytest.raises(FidelityError, match="prune-magnitude on the reference backend"):
        check(subject, wanted, model, corpus)
    subject.close()


def test_combinations_that_do_not_fit_say_why(corpus: Corpus) -> None:
    model = build.load_model(case("fake", "fake"), corpus)
    with pytest.raises(SubjectError, match="backend 'torch' takes models of form module"):
        loaded(case("fake", "torch"), model)
    with pytest.raises(SubjectError, match="compression 'bf16' takes models of form module"):
        loaded(case("fake", "fake", "bf16"), model)
    decoder = build.load_model(case("decoder", "torch"), corpus)
    with pytest.raises(SubjectError, match="no bfloat16 kernels"):
        loaded(case("decoder", "onnxruntime", "bf16"), decoder)
    with pytest.raises(SubjectError, match="does not train; use one of torch, torch-compile"):
        build.build_trainer(case("decoder", "onnxruntime"), decoder, none.build({}), learning_rate=1e-3, precision="fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16-autocast"])
def test_a_trainer_starts_from_the_parents_loss(corpus: Corpus, precision: str) -> None:
    wanted = case("decoder", "torch", params={"batch": 2, "tokens": 16})
    model = build.load_model(wanted, corpus)
    subject = build.build_trainer(wanted, model, none.build({}), learning_rate=1e-3, precision=precision, accumulate=2)
    assert subject.description["engine"]["accumulate"] == 2
    assert subject.description["engine"]["precision"] == precision
    subject.close()


def test_a_trainer_of_another_function_is_an_error(corpus: Corpus) -> None:
    wanted = case("decoder", "torch")
    model = build.load_model(wanted, corpus)
    other = build.load_model(replace(wanted, seed=1), corpus)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FidelityError, match="before training"):
        patch.setattr(build, "reference", lambda case, _: reference(case, other))
        build.build_trainer(wanted, model, none.build({}), learning_rate=1e-3, precision="fp32")


def test_the_probe_fits_the_text_and_the_model() -> None:
    long = probe(np.arange(5000), max_tokens=512)
    assert long.prompts.shape == (4, 32)
    assert long.windows.shape == (8, 129)
    assert long.prompts[0, 0] == 0
    assert long.prompts[-1, -1] == 4999
    small = probe(np.arange(40), max_tokens=8)
    assert small.prompts.shape == (4, 7)
    assert small.windows.shape == (5, 8)
    assert long.digest != small.digest
    with pytest.raises(SubjectError, match="longer corpus"):
        probe(np.arange(1), max_tokens=8)
