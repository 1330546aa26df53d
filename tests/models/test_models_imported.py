"""Models by import path: plain modules, contract modules, finished models, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel
from lmbench.models.imported import build
from tests.models import contract

SOURCE = '''
import torch
from torch import nn


class Plain(nn.Module):
    max_tokens = 77

    def __init__(self, width=8, vocab=256):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab, width), nn.Linear(width, vocab)

    def forward(self, ids):
        return self.head(self.embedding(ids).cumsum(1))


class Stateful(Plain):
    """Sums what it has seen."""

    def empty_state(self, batch):
        return (torch.zeros(batch, 1, 8), torch.zeros(batch, 1, 0, 1))

    def forward(self, ids, positions, *state):
        sums = self.embedding(ids).cumsum(1) + state[0]
        cache = torch.cat([state[1], ids[:, None, :, None].float()], 2)
        return self.head(sums.index_select(1, positions)), sums[:, -1:], cache

    def flops(self, *, batch, tokens, past, kept):
        return 2 * batch * kept * 8 * 256


class Forgetful(Stateful):
    def forward(self, ids, positions, *state):
        return super().forward(ids, positions, *state)[:2]


class Filling(Plain):
    objective, mask_id = "masked", 255


class Guessing(Plain):
    objective = "prefix"


class Flat(nn.Module):
    def forward(self, ids):
        return ids.float()


class Broken(nn.Module):
    def forward(self, ids):
        raise RuntimeError("no forward today")


def finished():
    from lmbench.data.corpora import split
    from lmbench.models.fake import build

    return build("done", {}, split("text", "some text\\n"), 0)


def breaks(size):
    return Plain(size)


def nothing():
    return 3


ready = Plain()
number = 4
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))


def imported(target: str, corpus: Corpus, **options: Any) -> BuiltModel:
    model = build("mine", {"target": f"own_models:{target}", **options}, corpus, 0)
    assert isinstance(model, BuiltModel)
    return model


def test_a_plain_module_is_wrapped_and_has_no_state(corpus: Corpus) -> None:
    model = imported("Plain", corpus, width=16)
    contract.check_positions(model)
    contract.check_causal(model)
    assert model.facts.parameters == 256 * 16 + 16 * 256 + 256
    assert (model.facts.carries_state, model.facts.max_tokens, model.empty_state(2)) == (False, 77, ())
    assert model.flops(batch=1, tokens=1) is None
    assert model.facts.weights_digest == imported("Plain", corpus, width=16).facts.weights_digest


def test_a_contract_module_keeps_its_state_and_flops(corpus: Corpus) -> None:
    model = imported("Stateful", corpus, max_tokens=9)
    contract.check_cached_decode(model)
    contract.check_state_bytes(model)
    assert model.facts.carries_state
    assert model.facts.max_tokens == 9
    assert model.flops(batch=3, tokens=5, kept=2) == 2 * 3 * 2 * 8 * 256


def test_a_module_may_say_that_it_predicts_hidden_tokens(corpus: Corpus) -> None:
    facts = imported("Filling", corpus).facts
    assert (facts.objective, facts.mask_id) == ("masked", 255)
    facts = imported("Plain", corpus).facts
    assert (facts.objective, facts.mask_id) == ("causal", None)
    with pytest.raises(SubjectError, match="objective 'prefix'; expected 'causal' or 'masked'"):
        imported("Guessing", corpus)


def test_a_finished_model_is_taken_as_it_is(corpus: Corpus) -> None:
    assert imported("finished", corpus).facts.name == "done"


def test_a_module_that_exists_already_is_taken(corpus: Corpus) -> None:
    ids = torch.tensor([[1, 2]])
    model = imported("ready", corpus)
    assert model.module(ids, torch.tensor([1]))[0].shape == (1, 1, 256)
    with pytest.raises(ConfigError, match="options for a finished module"):
        imported("ready", corpus, width=4)


@pytest.mark.parametrize(
    ("target", "options", "error", "words"),
    [
        ("Missing", {}, SubjectError, "has no attribute 'Missing'"),
        ("number", {}, ConfigError, "found a int; expected a callable"),
        ("breaks", {}, ConfigError, "missing a required argument: 'size'"),
        ("nothing", {}, SubjectError, "returned a int; expected a torch.nn.Module or a LanguageModel"),
        ("Flat", {}, SubjectError, "expected float (1, 1, V)"),
        ("Broken", {}, SubjectError, "failed on ids [[0, 1]]: RuntimeError: no forward today"),
        ("Forgetful", {}, SubjectError, "returned state"),
        ("Plain", {"vocab": 100}, SubjectError, "the tokenizer has 256 ids; expected at most 100"),
    ],
)
def test_what_is_wrong_is_said(target: str, options: dict[str, Any], error: type[Exception], words: str, corpus: Corpus) -> None:
    with pytest.raises(error) as caught:
        imported(target, corpus, **options)
    assert words in str(caught.value)


def test_targets_are_checked(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"package\.module:attribute"):
        build("mine", {"target": "own_models"}, corpus, 0)
    with pytest.raises(SubjectError, match="No module named 'no_such_module'"):
        build("mine", {"target": "no_such_module:x"}, corpus, 0)
