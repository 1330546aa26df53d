"""The n-gram model: what a slow formulation over dictionaries says, sums of one, quality by order, the cache."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from lmbench.base.cache import entries
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import windows
from lmbench.models import ngram
from lmbench.models.ngram import NGram, build, estimate
from tests.models import contract, exported

SMOOTHINGS = ("kneser-ney", "witten-bell")
FALLBACK = {1: 0.5, 2: 1.0, 3: 1.5}
Gram = tuple[int, ...]


class Slow:
    """Probabilities one at a time, from dictionaries of tuples and the definitions in the papers."""

    def __init__(self, ids: Sequence[int], order: int, vocab: int, smoothing: str) -> None:
        self.vocab, self.smoothing = vocab, smoothing
        self.counts = {length: self._counted(ids, length, order) for length in range(1, order + 1)}
        self.discounts = {length: self._discounted(counts) for length, counts in self.counts.items()}

    def _counted(self, ids: Sequence[int], length: int, order: int) -> dict[Gram, int]:
        grams = [tuple(ids[start : start + length]) for start in range(len(ids) - length + 1)]
        if self.smoothing == "witten-bell" or length == order:
            return dict(Counter(grams))
        before: dict[Gram, set[int]] = defaultdict(set)
        for gram, predecessor in zip(grams, [-1, *ids], strict=False):
            before[gram].add(predecessor)
        return {gram: len(found) for gram, found in before.items()}

    @staticmethod
    def _discounted(counts: Mapping[Gram, int]) -> dict[int, float]:
        kinds = Counter(counts.values())
        if not (kinds[1] and kinds[2] and kinds[3]):
            return FALLBACK
        factor = kinds[1] / (kinds[1] + 2 * kinds[2])
        found = {count: count - (count + 1) * factor * kinds[count + 1] / kinds[count] for count in (1, 2, 3)}
        return found if min(found.values()) > 0 else FALLBACK

    def __call__(self, token: int, context: Gram) -> float:
        lower = self(token, context[1:]) if context else 1 / self.vocab
        follow = {gram[-1]: n for gram, n in self.counts[len(context) + 1].items() if gram[:-1] == context}
        if not follow:
            return lower
        count, total = follow.get(token, 0), sum(follow.values())
        if self.smoothing == "witten-bell":
            return (count + len(follow) * lower) / (total + len(follow))
        discounts = self.discounts[len(context) + 1]
        taken = {other: discounts[min(n, 3)] for other, n in follow.items()}
        return (count - taken.get(token, 0.0) + sum(taken.values()) * lower) / total


def some_text(length: int, vocab: int) -> list[int]:
    """Ids that repeat unevenly, so that there are n-grams seen once, twice and often."""
    generator = np.random.default_rng(0)
    step = generator.geometric(0.35, size=length) % vocab
    return [int(number) for number in np.cumsum(step) % vocab]


def made(ids: Sequence[int], order: int, vocab: int, smoothing: str) -> NGram:
    return NGram(order, estimate(torch.tensor(ids), order=order, vocab=vocab, smoothing=smoothing)).eval()


def answers(module: NGram, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities [T, V] after each of the ids."""
    with torch.no_grad():
        found: torch.Tensor = module(torch.tensor([ids]), torch.arange(len(ids)), *module.empty_state(1))[0][0]
    return found


def check_against(slow: Slow, module: NGram, asked: Sequence[int], order: int) -> None:
    given_ = answers(module, asked).double().exp()
    for place in range(len(asked)):
        context = tuple(asked[max(0, place + 2 - order) : place + 1]) if order > 1 else ()
        expected = [slow(token, context) for token in range(slow.vocab)]
        np.testing.assert_allclose(given_[place].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_the_tables_answer_as_dictionaries_do(order: int, smoothing: str) -> None:
    text = some_text(900, 12)
    asked = [*text[100:120], *np.random.default_rng(1).integers(0, 12, size=20).tolist()]
    slow = Slow(text, order, 12, smoothing)
    check_against(slow, made(text, order, 12, smoothing), asked, order)
    if order == 4 and smoothing == "kneser-ney":
        # both ways to a discount are met: few bigrams of 12 ids, enough longer ones
        assert slow.discounts[1] is FALLBACK
        assert slow.discounts[4] is not FALLBACK


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.integers(0, 4), min_size=5, max_size=60),
    asked=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    order=st.integers(1, 5),
    smoothing=st.sampled_from(SMOOTHINGS),
)
def test_every_context_sums_to_one_and_is_that_of_the_dictionaries(
    text: list[int], asked: list[int], order: int, smoothing: str
) -> None:
    module = made(text, order, 5, smoothing)
    torch.testing.assert_close(answers(module, asked).exp().sum(-1), torch.ones(len(asked)), atol=1e-5, rtol=0)
    check_against(Slow(text, order, 5, smoothing), module, asked, order)


def test_kneser_ney_counts_contexts_where_witten_bell_counts_occurrences() -> None:
    """Ids 1 and 2 occur equally often, but 2 only ever after 3: in a new context, 1 is the better guess."""
    text = [0, 1, 4, 1, 5, 1, 6, 1, 3, 2, 3, 2, 3, 2, 3, 2]
    kneser_ney, witten_bell = (answers(made(text, 2, 8, smoothing), [7])[0] for smoothing in SMOOTHINGS)
    assert kneser_ney[1] > kneser_ney[2] + 0.5
    torch.testing.assert_close(witten_bell[1], witten_bell[2])


@pytest.mark.parametrize("options", [{"order": 1}, {"order": 3}, {"order": 5, "smoothing": "witten-bell"}])
def test_it_keeps_the_contract(options: dict[str, Any], corpus: Corpus) -> None:
    model = build("m", options, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    if options["order"] > 1:
        contract.check_causal(model)
    (empty,) = model.empty_state(3)
    assert torch.equal(empty, torch.full((3, options["order"] - 1), model.facts.vocab_size))
    assert torch.equal(empty, model.module.empty_state(3)[0])
    assert model.state_bytes(batch=3, tokens=7) == model.state_bytes(batch=3, tokens=9, element_bytes=2) == empty.nbytes
    assert model.facts.parameters == sum(part.numel() for part in model.module.state_dict().values() if part.is_floating_point())


def test_the_operations_are_not_those_the_ceiling_is_made_of(corpus: Corpus) -> None:
    model = build("m", {}, corpus, 0)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.module(contract.some_ids(model, 2, 5), torch.arange(5), *model.empty_state(2))
    assert counter.get_total_flops() == 0
    assert model.flops(batch=2, tokens=5) is None


def test_longer_contexts_and_kneser_ney_predict_better(corpus: Corpus) -> None:
    def perplexity(order: int, smoothing: str) -> float:
        model = build("m", {"order": order, "smoothing": smoothing}, corpus, 0)
        ids = np.array(model.tokenizer.encode(corpus.valid_text[:20_000]), dtype=np.int64)
        rows = torch.from_numpy(windows(ids, tokens=128, limit=4096))
        with torch.no_grad():
            logits = model.module(rows[:, :-1], torch.arange(128), *model.empty_state(len(rows)))[0]
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).exp())

    falling = [perplexity(order, "kneser-ney") for order in (1, 2, 3)]
    assert falling[0] > 2 * falling[1] > 2 * falling[2]
    assert falling[2] < perplexity(3, "witten-bell")


def test_a_second_build_counts_nothing(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    options = {"order": 2, "tokenizer": "bytes"}
    first = build("one", options, corpus, 0)
    (entry,) = [entry for entry in entries() if entry.kind == "ngram"]
    assert (entry.key["order"], entry.key["smoothing"], entry.key["corpus"]) == (2, "kneser-ney", corpus.digest)
    monkeypatch.setattr(ngram, "estimate", None)
    second = build("two", options, corpus, 1)
    assert first.facts.weights_digest == second.facts.weights_digest
    monkeypatch.undo()
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    build("three", {**options, "smoothing": "witten-bell"}, corpus, 0)
    assert len([entry for entry in entries() if entry.kind == "ngram"]) == 2


def test_a_cast_to_bfloat16_stays_a_distribution(corpus: Corpus) -> None:
    model = build("m", {}, corpus, 0)
    ids = contract.some_ids(model, 1, 6)
    low, state = model.module.to(torch.bfloat16)(ids, torch.arange(6), *model.empty_state(1))
    assert (low.dtype, state.dtype) == (torch.bfloat16, torch.int64)
    torch.testing.assert_close(low.float().exp().sum(-1), torch.ones(1, 6), atol=0.05, rtol=0)


def test_the_reference_engine_decodes_it(corpus: Corpus) -> None:
    model = build("m", {"order": 4}, corpus, 0)
    engine = exported.loaded(model, "torch")
    exported.check_engine(engine, model, atol=1e-5)
    engine.close()


def test_it_cannot_be_trained(corpus: Corpus) -> None:
    with pytest.raises(SubjectError, match="leave it out of training workloads"):
        build("m", {"order": 2}, corpus, 0).module.train()


def test_a_text_must_hold_one_ngram() -> None:
    with pytest.raises(SubjectError, match="found 2 tokens of training text; expected at least the 3 of one n-gram"):
        estimate(torch.tensor([1, 2]), order=3, vocab=4, smoothing="kneser-ney")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": 0}, "a whole number >= 1"),
        ({"order": 6}, "at most 5"),
        ({"smoothing": "kneser"}, "Did you mean 'kneser-ney'?"),
        ({"train_steps": 3}, "unknown option 'train_steps'"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("m", options, corpus, 0)
    assert words in str(caught.value)
