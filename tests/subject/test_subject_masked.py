"""Models that predict hidden tokens: what they are asked, what their numbers are called, and that the wrong are errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from lmbench.base.errors import FidelityError
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.compress import none
from lmbench.data.corpora import Corpus, split
from lmbench.models import encoder
from lmbench.plan.case import Case, Choice
from lmbench.subject import build
from lmbench.subject.probe import WINDOW_TOKENS, Probe, ask, probe
from lmbench.subject.protocol import Subject

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "encoder": {"size": "nano", "max_tokens": 48},
    "bilstm": {"size": "tiny", "max_tokens": 48, "tokenizer": "bytes"},
}
NAMES = {"encoder": "masked_perplexity", "bilstm": "pseudo_perplexity"}
KINDS = list(OPTIONS)


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


def case(kind: str, backend: str = "torch", compression: str = "none") -> Case:
    return Case(
        suite="suites/x.suite.yaml",
        name="cell",
        workload="scoring",
        params={"batch": 2, "tokens": 16},
        model=Choice(name=kind, kind=kind, options=OPTIONS[kind]),
        backend=Choice(name=backend, kind=backend),
        compression=Choice(name=compression, kind=compression),
        corpus={"source": "words"},
    )


def valid_ids(model: LanguageModel, corpus: Corpus) -> IntArray:
    return np.array(model.tokenizer.encode(corpus.valid_text), dtype=np.int64)


def unchecked(wanted: Case, corpus: Corpus) -> tuple[Subject, LanguageModel, Probe]:
    model = build.load_model(wanted, corpus)
    level = build.load_level(wanted, corpus)
    return (
        build.load(wanted, model, build.compress(wanted, model, level), level),
        model,
        probe(valid_ids(model, corpus), model.facts.max_tokens),
    )


def checked(wanted: Case, corpus: Corpus) -> Subject:
    subject, model, _ = unchecked(wanted, corpus)
    return build.check(subject, wanted, model, build.load_level(wanted, corpus), valid_ids(model, corpus))


class Watched:
    """An engine that keeps the ids it is given."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.seen: list[IntArray] = []

    def forward(self, ids: IntArray, positions: IntArray, state: Any) -> Any:
        self.seen.append(ids)
        return self.inner.forward(ids, positions, state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_every_token_of_the_probe_is_hidden_from_an_encoder_exactly_once(corpus: Corpus) -> None:
    subject, model, asked = unchecked(case("encoder"), corpus)
    watched = Watched(subject.engine)
    ask(replace(subject, engine=watched), asked, "an encoder")
    texts = [*asked.prompts, *asked.windows[:, :-1]]
    passes = iter(watched.seen)
    for text in texts:
        times = np.zeros(len(text), dtype=int)
        for _ in range(8):
            (ids,) = next(passes)
            hidden = ids == model.facts.mask_id
            assert abs(hidden.mean() - 1 / 8) < 1 / len(text)
            np.testing.assert_array_equal(ids[~hidden], text[~hidden])
            times += hidden
        assert (times == 1).all()
    assert next(passes, None) is None


def test_masked_perplexity_is_that_of_cross_entropy_with_one_in_eight_hidden(corpus: Corpus) -> None:
    subject, model, asked = unchecked(case("encoder"), corpus)
    total, count = 0.0, 0
    for row in torch.from_numpy(asked.windows[:, :-1]):
        for shift in range(8):
            hidden = torch.arange(len(row)) % 8 == shift
            with torch.no_grad():
                logits = model.module(row.where(~hidden, torch.tensor(256))[None], torch.arange(len(row)))[0][0].double()
            total += functional.cross_entropy(logits, row.where(hidden, torch.tensor(-100)), reduction="sum").item()
            count += int(hidden.sum())
    assert count == asked.windows[:, :-1].size
    assert ask(subject, asked, "an encoder").perplexity == pytest.approx(np.exp(total / count), rel=1e-6)


def test_pseudo_perplexity_takes_one_pass_over_each_window(corpus: Corpus) -> None:
    subject, model, asked = unchecked(case("bilstm"), corpus)
    watched = Watched(subject.engine)
    found = ask(replace(subject, engine=watched), asked, "a bilstm")
    rows = torch.from_numpy(asked.windows[:, :-1])
    with torch.no_grad():
        logits = model.module(rows, torch.arange(rows.shape[1]))[0].double()
    expected = functional.cross_entropy(logits.flatten(0, 1), rows.flatten()).exp().item()
    assert found.perplexity == pytest.approx(expected, rel=1e-6)
    assert len(watched.seen) == len(asked.prompts) + len(rows)


def test_texts_shorter_than_eight_tokens_are_hidden_one_token_at_a_time(corpus: Corpus) -> None:
    subject, _, asked = unchecked(case("encoder"), corpus)
    short = Probe(prompts=asked.prompts[:, :3], windows=asked.windows[:, :6])
    watched = Watched(subject.engine)
    assert ask(replace(subject, engine=watched), short, "an encoder").logits.shape == (4, 3, 256)
    assert all((ids == 256).sum() == 1 for ids in watched.seen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_have_their_own_name_and_perplexity_has_a_reason(kind: str, corpus: Corpus, cache: Path) -> None:
    fidelity = checked(case(kind), corpus).fidelity
    others = {
        "perplexity_ratio",
        "kl_divergence",
        "top1_agreement",
        "max_logit_difference",
        "sparsity",
        "perplexity",
        "bits_per_byte",
    }
    assert set(fidelity.values) == {NAMES[kind], *others}
    assert fidelity.values["perplexity"] is None
    assert NAMES[kind] in fidelity.reasons["perplexity"]
    assert fidelity.values["bits_per_byte"] is None
    assert "gives no likelihood of the text" in fidelity.reasons["bits_per_byte"]
    assert fidelity.values["perplexity_ratio"] == pytest.approx(1)
    assert fidelity.values["top1_agreement"] == 1
    before = sorted(cache.glob("reference/*"))
    checked(case(kind), corpus).close()
    assert sorted(cache.glob("reference/*")) == before, "the parent is asked once"


def test_an_untrained_encoder_guesses_all_tokens_alike(corpus: Corpus) -> None:
    fidelity = checked(case("encoder"), corpus).fidelity
    assert fidelity.values["masked_perplexity"] == pytest.approx(256, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "backend", "level"),
    [
        ("encoder", "torch", "bf16"),
        ("encoder", "torch", "int8-dynamic"),
        ("encoder", "onnxruntime", "none"),
        ("encoder", "onnxruntime", "int8-dynamic"),
        ("bilstm", "onnxruntime", "none"),
    ],
)
def test_engines_and_levels_stay_inside_their_bounds(kind: str, backend: str, level: str, corpus: Corpus) -> None:
    if backend == "onnxruntime":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module, reason=f"{module} is not installed; run: pip install 'pytest-lmbench[onnx]'")
    subject = checked(case(kind, backend, level), corpus)
    assert subject.fidelity.values[NAMES[kind]] is not None
    subject.close()


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_s_answers_are_an_error(kind: str, corpus: Corpus) -> None:
    subject, model, _ = unchecked(replace(case(kind), seed=1), corpus)
    with pytest.raises(FidelityError, match="not faithful"):
        build.check(subject, case(kind), build.load_model(case(kind), corpus), none.build({}), valid_ids(model, corpus))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_starts_from_the_parent_s_loss(kind: str, corpus: Corpus) -> None:
    model = build.load_model(case(kind), corpus)
    trainer = build.build_trainer(case(kind), model, none.build({}), learning_rate=1e-3, precision="fp32")
    assert trainer.model.facts.objective == "masked"
    trainer.close()


def test_an_encoder_is_trained_at_every_place_it_is_asked_about() -> None:
    assert encoder.TRAIN_TOKENS >= WINDOW_TOKENS
