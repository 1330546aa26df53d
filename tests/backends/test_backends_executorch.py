"""ExecuTorch against the torch module: full passes, steps, batches, several lengths, levels; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmbench.backends import executorch
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import FloatArray, IntArray
from lmbench.compress import executorch_ways
from lmbench.compress.changed import with_module
from lmbench.compress.none import build as none

pytest.importorskip("executorch", reason="ExecuTorch runs in an environment of its own; run: lmbench env create executorch")

VOCAB, TOLERANCE = 61, 1e-4


def ids_of(batch: int, tokens: int) -> IntArray:
    return np.random.default_rng(batch * 100 + tokens).integers(0, VOCAB, size=(batch, tokens))


def plain(model: Any, ids: IntArray) -> FloatArray:
    with torch.no_grad():
        logits: Tensor = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(len(ids)))[0]
    return logits.numpy()


@pytest.fixture(scope="module")
def engines(decoder: Any, recurrent: Any) -> Mapping[str, Any]:
    """Both models, loaded once; the decoder for two rows at a time."""
    options = {"decoder": {"threads": 1, "max_batch": 2}, "recurrent": {"threads": 1}}
    models = {"decoder": decoder, "recurrent": recurrent}
    return {name: (model, executorch.load(model, none({}), options[name])) for name, model in models.items()}


@pytest.mark.parametrize("name", ["decoder", "recurrent"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 5), cuts=st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_any_way_of_cutting_a_text_gives_the_module_s_logits(
    engines: Mapping[str, Any], name: str, batch: int, cuts: list[int]
) -> None:
    model, engine = engines[name]
    ids = ids_of(batch, sum(cuts))
    expected, state, start = plain(model, ids), engine.empty_state(batch), 0
    for tokens in cuts:
        logits, state = engine.forward(ids[:, start : start + tokens], np.arange(tokens), state)
        assert logits.shape == (batch, tokens, VOCAB)
        assert np.abs(logits - expected[:, start : start + tokens]).max() <= TOLERANCE
        start += tokens


@pytest.mark.parametrize("name", ["decoder", "recurrent"])
def test_positions_are_answered_in_the_order_they_are_asked_in(engines: Mapping[str, Any], name: str) -> None:
    model, engine = engines[name]
    ids = ids_of(3, 9)
    logits, state = engine.forward(ids, np.array([7, 2]), engine.empty_state(3))
    assert np.abs(logits - plain(model, ids)[:, [7, 2]]).max() <= TOLERANCE
    assert sum(part.nbytes for part in state) == sum(part.nbytes for part in reached(model, ids))


def reached(model: Any, ids: IntArray) -> list[Tensor]:
    with torch.no_grad():
        return list(model.module(torch.tensor(ids), torch.arange(1), *model.empty_state(len(ids)))[1:])


def test_a_state_stays_as_it_was_when_others_are_made_from_it(engines: Mapping[str, Any]) -> None:
    _, engine = engines["decoder"]
    ids = ids_of(1, 4)
    _, state = engine.forward(ids, np.array([3]), engine.empty_state(1))
    first, _ = engine.forward(ids[:, :1], np.array([0]), state)
    other, _ = engine.forward(ids[:, 1:2], np.array([0]), state)
    again, _ = engine.forward(ids[:, :1], np.array([0]), state)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(first, again)


def test_it_tells_what_it_holds(engines: Mapping[str, Any]) -> None:
    model, engine = engines["decoder"]
    told = engine.describe()
    tied = VOCAB * 32 * 4  # the look-up and XNNPACK's product each have the shared table
    assert told["weight_bytes"] >= model.facts.parameters * 4 - tied
    assert told["disk_bytes"] > told["weight_bytes"]
    assert 0 < told["delegated_share"] < 1
    assert "aten::embedding" in told["portable_operators"]
    assert "aten::linear" not in told["portable_operators"]
    assert (told["threads"], told["max_tokens"], told["max_batch"]) == (1, 64, 2)
    assert engines["recurrent"][1].describe()["tokens_per_call"] == 1


def test_the_file_is_made_once(decoder: Any, engines: Mapping[str, Any]) -> None:
    assert engines["decoder"][1].describe()["artifact"] == "built"
    assert not executorch.export(decoder, none({}), {"max_batch": 2}).built


def test_more_tokens_than_it_was_made_for_are_an_error_that_says_so(engines: Mapping[str, Any]) -> None:
    _, engine = engines["decoder"]
    _, state = engine.forward(ids_of(1, 60), np.array([59]), engine.empty_state(1))
    with pytest.raises(SubjectError, match=r"found 65 tokens, 60 of them past; .* at most 64; .*max_tokens"):
        engine.forward(ids_of(1, 5), np.array([0]), state)


def test_a_recurrent_model_has_no_longest_text(engines: Mapping[str, Any]) -> None:
    model, engine = engines["recurrent"]
    ids = ids_of(1, 90)
    logits, _ = engine.forward(ids, np.array([89]), engine.empty_state(1))
    assert np.abs(logits[:, 0] - plain(model, ids)[:, 89]).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("options", "found"),
    [({"max_tokens": 65}, "at most 64"), ({"max_batch": 0}, "at least 1"), ({"lenght": 8}, "unknown option")],
)
def test_impossible_options_are_faults(decoder: Any, options: dict[str, int], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        executorch.load(decoder, none({}), options)


def test_recurrent_cells_are_run_from_a_state_one_row_at_a_time(recurrent: Any) -> None:
    with pytest.raises(ConfigError, match="max_batch"):
        executorch.export(recurrent, none({}), {"max_batch": 2})
    whole = replace(recurrent, facts=replace(recurrent.facts, carries_state=False))
    with pytest.raises(SubjectError, match="reads all tokens at once"):
        executorch.export(whole, none({}), {})


class Searching(nn.Module):
    """Looks ids up by an operator that ExecuTorch has not got."""

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        found = torch.searchsorted(torch.arange(VOCAB), ids).index_select(1, positions)
        return (nn.functional.one_hot(found, VOCAB + 1)[..., :VOCAB].float(),)


def test_what_cannot_be_exported_is_an_error_that_names_it(decoder: Any) -> None:
    facts = replace(decoder.facts, weights_digest="searching", carries_state=False)
    model = replace(decoder, facts=facts, module=Searching().eval(), state=lambda _: ())
    with pytest.raises(SubjectError, match=r"cannot export Searching of model 'tiny-decoder'.*searchsorted") as fault:
        executorch.export(model, none({}), {})
    assert "another backend" in str(fault.value)


class Averaging(nn.Module):
    """Every token from all tokens, without a state: masked models look like this."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, 32)
        self.head = nn.Linear(32, VOCAB)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        x = self.tokens(ids)
        return (self.head((x + x.mean(1, keepdim=True)).index_select(1, positions)),)


def averaging(decoder: Any) -> Any:
    torch.manual_seed(5)
    module = Averaging().eval()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    facts = replace(decoder.facts, weights_digest="averaging", carries_state=False, parameters=parameters)
    return replace(decoder, facts=facts, module=module, state=lambda _: ())


def test_a_model_without_a_state_takes_every_length(decoder: Any) -> None:
    model = averaging(decoder)
    engine = executorch.load(model, none({}), {"max_tokens": 32})
    for tokens in (1, 2, 31, 32):
        ids = ids_of(2, tokens)
        logits, state = engine.forward(ids, np.arange(tokens), engine.empty_state(2))
        assert np.abs(logits - plain(model, ids)).max() <= TOLERANCE
        assert state == ()


@pytest.mark.parametrize(("level", "largest"), [("int8", 0.05), ("int4", 0.5)])
def test_levels_make_smaller_files_whose_products_are_delegated(decoder: Any, level: str, largest: float) -> None:
    ways: Mapping[str, Callable[[Any], Any]] = {
        "int8": executorch_ways.int8_dynamic,
        "int4": lambda module: executorch_ways.int4_weights(module, group_size=32),
    }
    model = averaging(decoder)
    smaller = with_module(model, ways[level](model.module), {"method": level})
    engine = executorch.load(smaller, none({}), {"threads": 1})
    ids = ids_of(2, 20)
    logits, _ = engine.forward(ids, np.arange(20), engine.empty_state(2))
    told: Any = engine.describe()
    expected = plain(model, ids)
    assert told["delegated_share"] > 0
    assert not {"aten::linear", "aten::mm", "aten::addmm"} & set(told["portable_operators"])
    assert told["weight_bytes"] < model.facts.parameters * 4
    assert 0 < np.abs(logits - expected).max() < largest * np.abs(expected).max()


def test_a_level_without_a_layer_to_change_is_an_error(recurrent: Any) -> None:
    with pytest.raises(SubjectError, match="no Linear layer in GRU"):
        executorch_ways.int8_dynamic(recurrent.module.cells)
    with pytest.raises(SubjectError, match="no Linear layer in TinyRecurrent"):
        executorch_ways.int4_weights(recurrent.module, group_size=48)
