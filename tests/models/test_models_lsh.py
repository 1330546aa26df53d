"""Attention by hashing: exact where it must be, causal in what it selects, close to full attention with more rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.models.decoder import Decoder, Shape, rotate
from lmbench.models.lsh_decoder import Hashing, attend_masked, attend_sorted, build
from lmbench.subject.fidelity import kl_divergence
from tests.models import contract
from tests.models.exported import check_engine, loaded

KINDS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "full": {"buckets": 1, "chunk": 64},
    "small-chunks": {"buckets": 4, "rounds": 3, "chunk": 2},
    "sorted-early": {"buckets": 2, "rounds": 1, "chunk": 1, "positions": "learned", "bias": True},
}
LAYOUTS = st.builds(Hashing, buckets=st.sampled_from([1, 2, 4, 6]), rounds=st.integers(1, 4), chunk=st.integers(1, 7))


def visible(bucket: Tensor, chunk: int) -> Tensor:
    """Token by token what the definition says: bool [L, L] for the buckets [L, rounds] of one head."""
    length, rounds = bucket.shape
    seen = torch.zeros(length, length, dtype=torch.bool)
    for number in range(rounds):
        hashes = bucket[:, number].tolist()
        for token in range(length):
            mates = [other for other in range(token + 1) if hashes[other] == hashes[token]]
            first = max(0, (len(mates) - 1) // chunk - 1) * chunk
            seen[token, mates[first:]] = True
    return seen


def by_definition(query: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """One softmax over what each token sees, without itself unless it sees nothing else; `seen` bool [..., L, L]."""
    itself = torch.eye(query.shape[2], dtype=torch.bool)
    others = seen & ~itself
    allowed = others | (itself & ~others.any(-1, keepdim=True))
    length = (query * query).sum(-1).sqrt()
    score = torch.einsum("bhid,bhjd->bhij", query, query) / length[:, :, None]
    return torch.einsum("bhij,bhjd->bhid", torch.where(allowed, score, -torch.inf).softmax(-1), value)


def case(length: int, hashing: Hashing, seed: int, heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, values and buckets of two sequences."""
    generator = torch.Generator().manual_seed(seed)
    query, value = (torch.randn(2, heads, length, 8, generator=generator) for _ in range(2))
    return query, value, torch.randint(0, hashing.buckets, (2, heads, length, hashing.rounds), generator=generator)


@given(hashing=LAYOUTS, length=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_sorted_chunks_compute_the_definition_and_its_gradient(hashing: Hashing, length: int, seed: int) -> None:
    query, value, bucket = case(length, hashing, seed)
    seen = torch.stack([torch.stack([visible(head, hashing.chunk) for head in row]) for row in bucket])
    leaves = [query.requires_grad_(), value.requires_grad_()]
    ours, theirs = attend_sorted(query, value, bucket, hashing), by_definition(query, value, seen)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    gradients = [torch.autograd.grad(out.square().sum(), leaves) for out in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@given(hashing=LAYOUTS, length=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_tokens_after_a_past_get_what_the_sorted_pass_gives_them(hashing: Hashing, length: int, seed: int) -> None:
    query, value, bucket = case(length, hashing, seed)
    whole = attend_sorted(query, value, bucket, hashing)
    for tokens in {1, length // 2 + 1, length}:
        visible = torch.ones(length, length, dtype=torch.bool).tril()[-tokens:]
        found = attend_masked(query, value, bucket, visible, hashing)
        torch.testing.assert_close(found, whole[:, :, -tokens:], atol=1e-5, rtol=1e-4)


@given(hashing=LAYOUTS, length=st.integers(2, 40), data=st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_comes_later_changes_nothing_before(hashing: Hashing, length: int, data: st.DataObject) -> None:
    """Not the values alone: later tokens in any bucket must not move an earlier one across the border of a chunk."""
    cut = data.draw(st.integers(1, length - 1))
    before, after = case(length, hashing, 1), case(length, hashing, data.draw(st.integers(2, 1000)))
    query, value, bucket = (torch.cat([one[:, :, :cut], two[:, :, cut:]], dim=2) for one, two in zip(before, after, strict=True))
    expected = attend_sorted(*before, hashing)[:, :, :cut]
    torch.testing.assert_close(attend_sorted(query, value, bucket, hashing)[:, :, :cut], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hashing_decoder_keeps_the_contract(kind: str, corpus: Corpus) -> None:
    model = build("m", {"size": "nano", **KINDS[kind]}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)
    contract.check_flops(model)


def test_decoding_follows_the_full_pass_over_many_chunks(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "layers": 1, "chunk": 4, "buckets": 4}, corpus, 0)
    ids = contract.some_ids(model, 1, 90)
    with torch.no_grad():
        full = model.module(ids, torch.arange(90), *model.empty_state(1))[0]
        first, *state = model.module(ids[:, :50], torch.arange(50), *model.empty_state(1))
        parts = [first]
        for place in range(50, 90):
            logits, *state = model.module(ids[:, place : place + 1], torch.tensor([0]), *state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), full, atol=2e-5, rtol=1e-4)
    # too few to be worth sorting, a full pass that is, one new token
    assert [model.module.hashing.sorts(length, length) for length in (10, 90)] == [False, True]
    for tokens, past in ((10, 0), (90, 0), (1, 90)):
        assert model.flops(batch=1, tokens=tokens, past=past, kept=1) == contract.counted_flops(model, 1, tokens, past, 1)


class SharedQueryKey(nn.Module):
    """Full attention with one projection for queries and keys, written down plainly and without a state."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.value, self.output = (nn.Linear(shape.hidden, shape.hidden, bias=False) for _ in range(3))

    def forward(self, x: Tensor, seen: Tensor, rotation: tuple[Tensor, Tensor] | None, past: Any) -> tuple[Tensor, ...]:
        query, value = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.value))
        assert rotation is not None
        mixed = by_definition(rotate(query, *rotation), value, seen)
        return self.output(mixed.transpose(1, 2).flatten(2)), *past


def test_one_bucket_and_one_chunk_are_full_attention(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "buckets": 1, "chunk": 64, "rounds": 2}, corpus, 0)
    plain = Decoder(model.module.shape, attention=SharedQueryKey)
    wanted = {name: tensor for name, tensor in model.module.state_dict().items() if "directions" not in name}
    plain.load_state_dict(wanted)
    ids = contract.some_ids(model, 2, 60)
    with torch.no_grad():
        ours = model.module(ids, torch.arange(60), *model.empty_state(2))[0]
        theirs = plain(ids, torch.arange(60), *plain.empty_state(2))[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_more_rounds_come_closer_to_full_attention(corpus: Corpus) -> None:
    errors = []
    for rounds in (1, 2, 4, 8):
        model = build("m", {"size": "nano", "buckets": 8, "rounds": rounds, "chunk": 128}, corpus, 0)
        attention = model.module.blocks[0].attention
        query, value, _ = case(128, Hashing(buckets=8, rounds=rounds, chunk=128), seed=0, heads=4)
        bucket = attention._buckets(query)
        full = by_definition(query, value, torch.ones(128, 128, dtype=torch.bool).tril())
        errors.append((attend_sorted(query, value, bucket, attention.hashing) - full).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


def test_near_vectors_share_buckets_and_opposite_ones_never(corpus: Corpus) -> None:
    attention = build("m", {"size": "nano", "buckets": 8, "rounds": 8}, corpus, 0).module.blocks[0].attention
    query, noise, _ = case(64, attention.hashing, seed=3, heads=4)
    hashes = attention._buckets(query)
    near, far = attention._buckets(query + 0.1 * noise), attention._buckets(noise)
    assert hashes.min() == 0
    assert hashes.max() == 7
    assert (near == hashes).float().mean() > 0.8
    assert (far == hashes).float().mean() < 0.3
    assert not (attention._buckets(-query) == hashes).any()
    assert torch.equal(attention._buckets(3 * query), hashes)


def test_a_hash_belongs_to_the_weights(corpus: Corpus) -> None:
    one, two = (build("m", {"size": "nano"}, corpus, seed).module.state_dict() for seed in (0, 1))
    (first, *_) = names = [name for name in one if name.endswith("directions")]
    assert len(names) == 2
    assert one[first].shape == (4, 4 * 8, 8)
    assert not torch.equal(one[first], two[first])


def test_hashing_trains_under_autocast_and_runs_in_bfloat16(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "chunk": 2, "buckets": 2, "rounds": 2}, corpus, 0)
    ids = contract.some_ids(model, 2, 21)
    assert model.module.hashing.sorts(21, 21)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.module(ids, torch.arange(21), *model.empty_state(2))[0]
    functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten()).backward()  # type: ignore[no-untyped-call]
    for parameter in model.module.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    with torch.no_grad():
        logits, *state = model.module.to(torch.bfloat16)(ids, torch.arange(21), *model.empty_state(2))
    assert logits.dtype == state[2].dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


def test_export_keeps_lengths_free(corpus: Corpus) -> None:
    """The exported program sorts whatever it gets, a single new token too."""
    model = build("m", {"size": "nano", "layers": 1, "chunk": 4, "buckets": 4}, corpus, 0)
    free = torch.export.Dim.DYNAMIC
    ids = contract.some_ids(model, 3, 30)
    state = tuple(torch.zeros(2, 4, 7, part.shape[-1]) for part in model.empty_state(2))
    shapes = ({0: free, 1: free}, {0: free}, tuple({0: free, 2: free} for _ in state))
    program = torch.export.export(model.module, (ids[:2, :5], torch.arange(3), *state), dynamic_shapes=shapes).module()
    with torch.no_grad():
        _, *past = model.module(ids[:, :20], torch.arange(20), *model.empty_state(3))
        for tokens in (10, 1):
            new, where = ids[:, 20 : 20 + tokens], torch.arange(tokens)
            for ours, theirs in zip(program(new, where, *past), model.module(new, where, *past), strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_onnx_runtime_decodes_by_sorting(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "layers": 1, "rounds": 2, "chunk": 2, "buckets": 4}, corpus, 0)
    check_engine(loaded(model, "onnxruntime"), model, atol=1e-5)
    # quantized queries may fall into other buckets, so single logits have no bound
    ids, everywhere = contract.some_ids(model, 3, 40).numpy(), np.arange(40)
    exact, rounded = (
        engine.forward(ids, everywhere, engine.empty_state(3))[0]
        for engine in (loaded(model, "torch"), loaded(model, "onnxruntime", "int8-dynamic"))
    )
    assert kl_divergence(exact, rounded) < 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"buckets": 3}, "1 or an even number up to 256"),
        ({"buckets": 512}, "1 or an even number up to 256"),
        ({"rounds": 0}, "a whole number >= 1"),
        ({"kv_heads": 2}, "unknown option 'kv_heads'"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("reformer", {"size": "nano", **options}, corpus, 0)
    assert "model 'reformer'" in str(caught.value)
    assert words in str(caught.value)
