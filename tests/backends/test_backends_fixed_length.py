"""Passes of fixed lengths: padding changes no answer, the shortest pass that is long enough is the one that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmbench.backends.fixed_length import FullPass, FullPassEngine, passes, read_lengths
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import FloatArray, IntArray, LanguageModel

LENGTHS = (4, 9, 16)


class InTorch:
    """The passes of a model run by torch itself, held to the shapes a file would have; remembers which ones ran."""

    def __init__(self, model: LanguageModel) -> None:
        self.module = FullPass(model)
        self.shapes = {
            each.name: {key: value.shape for key, value in each.inputs.items()} for each in passes(model.facts, LENGTHS)
        }
        self.called: list[str] = []

    def __call__(self, name: str, inputs: Mapping[str, IntArray]) -> FloatArray:
        assert {key: value.shape for key, value in inputs.items()} == self.shapes[name]
        self.called.append(name)
        with torch.no_grad():
            logits: FloatArray = self.module(**{key: torch.tensor(value) for key, value in inputs.items()}).numpy()
        return logits


def engine_of(model: LanguageModel) -> tuple[FullPassEngine, InTorch]:
    call = InTorch(model)
    return FullPassEngine(facts=model.facts, lengths=LENGTHS, call=call, description={}), call


def plain(model: LanguageModel, ids: IntArray, positions: IntArray) -> FloatArray:
    with torch.no_grad():
        out = model.module(torch.tensor(ids), torch.tensor(positions), *model.empty_state(len(ids)))
    logits: FloatArray = out[0].numpy()
    return logits


@settings(max_examples=40, deadline=None)
@given(data=st.data(), recurs=st.booleans())
def test_padding_changes_no_answer(decoder: Any, recurrent: Any, data: st.DataObject, recurs: bool) -> None:
    model = recurrent if recurs else decoder
    batch, tokens = data.draw(st.integers(1, 3)), data.draw(st.integers(1, max(LENGTHS)))
    kept = data.draw(st.lists(st.integers(0, tokens - 1), max_size=5))
    ids = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, model.facts.vocab_size, size=(batch, tokens))
    engine, call = engine_of(model)
    positions = np.array(kept, dtype=np.int64)
    logits, state = engine.forward(ids, positions, engine.empty_state(batch))
    assert state == ()
    assert logits.shape == (batch, len(kept), model.facts.vocab_size)
    assert np.allclose(logits, plain(model, ids, positions), atol=1e-5)
    shortest = min(length for length in LENGTHS if length >= tokens)
    assert call.called == [f"{'one' if len(kept) == 1 else 'all'}_{shortest}"] * batch


def test_more_tokens_than_were_built_for_is_an_error_that_names_the_option(decoder: Any) -> None:
    engine, call = engine_of(decoder)
    with pytest.raises(SubjectError, match=r"found 17 tokens; 'tiny-decoder' was built for lengths 4, 9, 16; set .*`lengths`"):
        engine.forward(np.zeros((1, 17), dtype=np.int64), np.array([0]), ())
    assert call.called == []


def test_a_model_that_would_read_the_padding_takes_exact_lengths_only(decoder: Any) -> None:
    masked = replace(decoder, facts=replace(decoder.facts, objective="masked"))
    engine, _ = engine_of(masked)
    ids = np.ones((1, 9), dtype=np.int64)
    assert engine.forward(ids, np.arange(9), ())[0].shape == (1, 9, 61)
    with pytest.raises(SubjectError, match=r"found 8 tokens.*read the padding.*a list with 8"):
        engine.forward(ids[:, :8], np.arange(8), ())


def test_nothing_runs_after_close(decoder: Any) -> None:
    engine, _ = engine_of(decoder)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.forward(np.zeros((1, 3), dtype=np.int64), np.array([2]), ())


def test_the_description_says_what_was_built(decoder: Any) -> None:
    engine = FullPassEngine(
        facts=decoder.facts, lengths=LENGTHS, call=InTorch(decoder), description={"engine": "x", "dtype": "int8"}
    )
    assert engine.describe() == {"engine": "x", "device": "cpu", "dtype": "int8", "state_dtype": None, "lengths": [4, 9, 16]}


class Marked(nn.Module):
    """Its state is the id before the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 5)

    def forward(self, ids: Tensor, positions: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([before, ids], 1)
        return self.table(seen.index_select(1, positions)), seen[:, -1:]


def test_a_pass_starts_from_the_models_own_empty_state(decoder: Any) -> None:
    model = replace(decoder, module=Marked(), state=lambda batch: (torch.full((batch, 1), 6),))
    full = FullPass(model)
    assert torch.equal(full(torch.tensor([[1, 2]]))[0], model.module.table.weight[[6, 1]])
    assert torch.equal(full(torch.tensor([[1, 2]]), torch.tensor([1]))[0], model.module.table.weight[[1]])


def test_a_module_in_training_is_left_so(decoder: Any) -> None:
    training = replace(decoder, module=nn.Sequential(nn.Dropout(0.5)).train(), state=lambda _: ())
    full = FullPass(training)
    assert training.module.training
    assert not any(part.training for part in full.modules())


def test_lengths_are_clipped_to_what_the_model_takes(decoder: Any) -> None:
    assert read_lengths("x", {}, decoder.facts) == (32, 64)
    assert read_lengths("x", {}, replace(decoder.facts, max_tokens=1 << 16)) == (32, 128)
    assert read_lengths("x", {}, replace(decoder.facts, max_tokens=20)) == (20,)
    assert read_lengths("x", {"lengths": [48, 8, 48]}, decoder.facts) == (8, 48)


@pytest.mark.parametrize("lengths", [[], [0], [65], [True], ["8"], 8, "8"])
def test_wrong_lengths_are_faults_of_configuration(decoder: Any, lengths: object) -> None:
    with pytest.raises(ConfigError, match=r"lengths.*from 1 to the model's max_tokens, 64"):
        read_lengths("x", {"lengths": lengths}, decoder.facts)
