"""Heads and neurons taken out: what remains computes what the whole model computes without them, and is as small as it says."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.registry import MODELS, resolve
from lmbench.base.seams import Compression, LanguageModel
from lmbench.compress.calibration import calibration_ids
from lmbench.compress.parts import attentions, mlps
from lmbench.compress.structured import RANKED_BY, SAMPLES, TOKENS, build
from lmbench.data import corpora, tokenizers
from lmbench.data.corpora import Corpus
from tests.models import contract, masked

CORPUS = corpora.load({"source": "python-reference"})
NANO = {"size": "nano", "tokenizer": "bytes"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("decoder", {}),
    "grouped": ("decoder", {"heads": 8, "kv_heads": 4}),
    "gpt-2": ("decoder", {"activation": "gelu", "norm": "layer", "positions": "learned", "bias": True, "tied": True}),
    "adaptive": ("adaptive", {"kv_heads": 2}),
    "encoder": ("encoder", {}),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    return tmp_path


def built(family: str = "decoder", **options: Any) -> Any:
    return resolve(MODELS[family].target)("m", {**NANO, **options}, CORPUS, 0)


def level(corpus: Corpus | None = CORPUS, **options: Any) -> Compression:
    return build(options, corpus)


def pruned(model: LanguageModel, **options: Any) -> Any:
    return level(**options).on_model(model, MODULE)


def silenced(model: Any, share: float, by: str) -> Any:
    """A copy in which the heads and neurons that matter least are there, but add nothing."""
    module = copy.deepcopy(model.module)
    blocks = [(block.attention, getattr(block, "mlp", block)) for block in module.blocks]
    seen = inputs_seen(model, module, [layer for own, mlp in blocks for layer in (own.output, mlp.down)])
    for own, mlp in blocks:
        size = own.query.out_features // own.heads
        gate = getattr(mlp, "gate", None)
        attention = own.key.out_features // size, own.output, (own.query, own.key, own.value)
        neurons = mlp.up.out_features, mlp.down, (mlp.up,) if gate is None else (mlp.up, gate)
        for count, out, into in (attention, neurons):
            if by == "weights":
                rank = sum(part.reshape(count, -1).square().sum(1) for part in (out.weight.T, *(layer.weight for layer in into)))
            else:
                rank = (out.weight.T * seen[out].norm(dim=0)[:, None]).reshape(count, -1).norm(dim=1)
            silence(count, share, out, torch.as_tensor(rank))
    return module


def inputs_seen(model: Any, module: Any, layers: list[Any]) -> dict[Any, Tensor]:
    """What each of `layers` is multiplied with, [tokens, inputs], on the text that units are ranked on."""
    ids = torch.from_numpy(calibration_ids(model, CORPUS, SAMPLES, TOKENS, 0))
    seen: dict[Any, Tensor] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[layer] = inputs[0].flatten(0, 1)

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    with torch.no_grad():
        module(ids, torch.tensor([0]), *model.empty_state(len(ids)))
    for hook in hooks:
        hook.remove()
    return seen


def silence(count: int, share: float, out: Any, rank: Tensor) -> None:
    wide = out.in_features // count
    with torch.no_grad():
        for gone in rank.argsort()[: round(share * count)].tolist():
            out.weight[:, gone * wide : (gone + 1) * wide] = 0


@pytest.mark.parametrize("by", RANKED_BY)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_smaller_model_computes_as_without_what_matters_least(name: str, by: str) -> None:
    family, options = VARIANTS[name]
    model = built(family, **options)
    before = copy.deepcopy(model.module.state_dict())
    smaller = pruned(model, heads=0.5, neurons=0.5, ranked_by=by)
    ids = contract.some_ids(model, 2, 9)
    with torch.no_grad():
        found = smaller.module(ids, torch.arange(9), *smaller.empty_state(2))[0]
        expected = silenced(model, 0.5, by)(ids, torch.arange(9), *model.empty_state(2))[0]
        whole = model.module(ids, torch.arange(9), *model.empty_state(2))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, whole, atol=1e-3)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.module.state_dict().items())


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "encoder"])
def test_the_smaller_model_keeps_the_contract_and_its_counts(name: str) -> None:
    family, options = VARIANTS[name]
    model = built(family, **options)
    smaller = pruned(model, heads=0.5, neurons=0.25)
    contract.check_cached_decode(smaller)
    contract.check_causal(smaller)
    contract.check_state_bytes(smaller)
    contract.check_flops(smaller)
    assert smaller.state_bytes(batch=2, tokens=5) * 2 == model.state_bytes(batch=2, tokens=5)
    assert (
        smaller.facts.parameters == sum(parameter.numel() for parameter in smaller.module.parameters()) < model.facts.parameters
    )
    assert smaller.facts.weights_digest != model.facts.weights_digest
    assert smaller.facts.details["heads"] * 2 == model.facts.details["heads"]
    assert smaller.facts.details["kv_heads"] * 2 == model.facts.details["kv_heads"]
    assert smaller.facts.details["mlp"] == round(0.75 * model.facts.details["mlp"])


def test_an_encoder_keeps_its_contract_and_its_counts() -> None:
    model = built("encoder")
    smaller = pruned(model, heads=0.5, neurons=0.25)
    masked.check_flops(smaller)
    assert smaller.empty_state(2) == ()
    assert smaller.state_bytes(batch=2, tokens=5) == 0
    assert smaller.facts.details["heads"] * 2 == model.facts.details["heads"]
    assert smaller.facts.parameters < model.facts.parameters


def test_neurons_alone_leave_the_cache() -> None:
    model = built()
    smaller = pruned(model, neurons=0.5)
    contract.check_flops(smaller)
    assert [part.shape for part in smaller.empty_state(3)] == [part.shape for part in model.empty_state(3)]
    assert smaller.state_bytes(batch=1, tokens=3) == model.state_bytes(batch=1, tokens=3)
    assert smaller.module.shape == replace(model.module.shape, mlp=smaller.facts.details["mlp"])
    hidden, width, layers = 32, model.facts.details["mlp"], 2
    assert model.facts.parameters - smaller.facts.parameters == layers * 3 * hidden * width // 2


@settings(max_examples=12, deadline=None)
@given(kv_heads=st.sampled_from([2, 3, 6]), gone=st.floats(0.17, 0.83), neurons=st.floats(0.02, 0.98))
def test_every_share_is_met_to_the_nearest_unit(kv_heads: int, gone: float, neurons: float) -> None:
    model = built(hidden=24, heads=6, kv_heads=kv_heads, mlp=40, layers=1)
    heads = min(max(gone, 1 / kv_heads), 1 - 1 / kv_heads)
    smaller = pruned(model, heads=heads, neurons=neurons)
    left = kv_heads - round(heads * kv_heads), 40 - round(neurons * 40)
    assert (smaller.facts.details["kv_heads"], smaller.facts.details["mlp"]) == left
    (attention,), (mlp,) = list(attentions(smaller.module)), list(mlps(smaller.module))
    assert (attention.count, mlp.count) == left
    assert attention.out.in_features == attention.into[0].out_features == left[0] * 24 // kv_heads


def llama(folder: Path, kind: str) -> Any:
    """A random one, or another model of its shape, of four groups of two heads, saved and built."""
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": True}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    tokenizer = tokenizers.bpe(CORPUS, 300)
    assert isinstance(tokenizer, tokenizers.FileTokenizer)
    tokenizer.save(folder / "tokenizer.json")
    return resolve(MODELS["huggingface"].target)("m", {"path": str(folder)}, CORPUS, 0)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_a_llama_stays_one_that_transformers_can_load(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers", reason="needs transformers: pip install 'pytest-lmbench[pretrained]'")
    model = llama(tmp_path / "whole", kind)
    smaller = pruned(model, heads=0.5, neurons=0.5)
    contract.check_cached_decode(smaller)
    contract.check_state_bytes(smaller)
    contract.check_flops(smaller)
    smaller.module.causal.save_pretrained(tmp_path / "smaller")
    (tmp_path / "smaller/tokenizer.json").write_bytes((tmp_path / "whole/tokenizer.json").read_bytes())
    loaded = resolve(MODELS["huggingface"].target)("again", {"path": str(tmp_path / "smaller")}, CORPUS, 0)
    assert loaded.facts.parameters == smaller.facts.parameters
    assert loaded.flops(batch=2, tokens=3, past=4) == smaller.flops(batch=2, tokens=3, past=4)
    assert loaded.state_bytes(batch=2, tokens=3) == smaller.state_bytes(batch=2, tokens=3)
    ids = contract.some_ids(loaded, 2, 6)
    with torch.no_grad():
        one, other = (m.module(ids, torch.arange(6), *m.empty_state(2))[0] for m in (loaded, smaller))
    torch.testing.assert_close(one, other)
    config = model.module.causal.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (8, 4, 48)


def test_the_smaller_model_is_fine_tuned(own_cache: Path) -> None:
    model = built()
    options: dict[str, Any] = {"heads": 0.5, "neurons": 0.5}
    method = level(CORPUS, **options, fine_tune_steps=10, learning_rate=1e-2)
    plain, tuned, again = pruned(model, **options), method.on_model(model, MODULE), method.on_model(model, MODULE)
    assert len([*own_cache.glob("fine-tuned/*/model.safetensors")]) == 1
    assert tuned.facts == again.facts
    assert tuned.facts.parameters == plain.facts.parameters
    assert tuned.facts.weights_digest != plain.facts.weights_digest
    assert tuned.state_bytes(batch=1, tokens=2) == plain.state_bytes(batch=1, tokens=2)
    assert method.lineage["corpus"] == CORPUS.digest
    ids = torch.tensor(model.tokenizer.encode(CORPUS.valid_text[:1024])).view(8, 128)
    losses = []
    for one in (plain, tuned, again):
        with torch.no_grad():
            logits = one.module(ids[:, :-1], torch.arange(127), *one.empty_state(8))[0]
        losses.append(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item())
    assert losses[1] < losses[0] - 0.5
    assert losses[1] == losses[2]


@pytest.mark.parametrize("family", ["lstm", "bilstm", "feed-forward", "moe", "lsh-decoder"])
def test_models_without_such_parts_are_refused(family: str) -> None:
    size = {} if family in ("moe", "lsh-decoder") else {"size": "tiny"}
    with pytest.raises(SubjectError, match=r"found 'm' with \d attentions and \d+ MLPs .*; expected attentions and MLPs by"):
        pruned(built(family, **size), neurons=0.5)


class Normed(nn.Module):
    """An MLP whose neurons depend on each other."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.up, self.down = mlp.up, mlp.down

    def forward(self, x: Tensor) -> Any:
        inner = self.up(x)
        return self.down(nn.functional.layer_norm(inner, inner.shape[-1:]))


class Scaled(Normed):
    """One with a factor of its own for each neuron."""

    def __init__(self, mlp: Any) -> None:
        super().__init__(mlp)
        self.factor = nn.Parameter(torch.ones(mlp.up.out_features))

    def forward(self, x: Tensor) -> Any:
        return self.down(self.up(x) * self.factor)


@pytest.mark.parametrize(("kind", "fault"), [(Normed, "logits that differ by"), (Scaled, "does not run without the units")])
def test_parts_that_are_not_what_their_names_say_are_refused(kind: Any, fault: str) -> None:
    model = built()
    for block in model.module.blocks:
        block.mlp = kind(block.mlp)
    with pytest.raises(SubjectError, match=f"prune-structured: 'm'.*{fault}.*use prune-layerwise"):
        pruned(model, neurons=0.5)


def test_a_state_that_is_not_of_keys_and_values_is_refused() -> None:
    model = built()
    with pytest.raises(SubjectError, match=r"with a state of \(1, 4, 0, 8\); expected keys and values"):
        pruned(replace(model, state_shapes=lambda batch, tokens: ((batch, 4, tokens, 8),)), heads=0.5)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "nothing to take out"),
        ({"heads": 0, "neurons": 0.0}, "nothing to take out"),
        ({"heads": 1}, "heads: found 1; expected a number from 0 to below 1"),
        ({"neurons": -0.1}, "neurons: found -0.1"),
        ({"neurons": "half"}, "neurons: found 'half'"),
        ({"heads": True}, "heads: found True"),
        ({"heads": 0.5, "ranked_by": "luck"}, "ranked_by: found 'luck'; expected one of activations, weights"),
        ({"head": 0.5}, "head: found an unknown option"),
        ({"heads": 0.5, "fine_tune_steps": -1}, "fine_tune_steps: found -1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        level(CORPUS, **options)


@pytest.mark.parametrize(("share", "gone"), [(0.1, 0), (0.9, 4)])
def test_shares_of_no_head_or_of_all_are_refused(share: float, gone: int) -> None:
    with pytest.raises(ConfigError, match=f"heads: found {share}, which is {gone} of the 4 units of a layer"):
        pruned(built(), heads=share)


def test_units_are_ranked_on_a_text_or_by_their_weights() -> None:
    model = built()
    with pytest.raises(ConfigError, match="corpus: found none; expected text"):
        level(None, heads=0.5).on_model(model, MODULE)
    by_weights = level(None, heads=0.5, ranked_by="weights")
    assert "seen" not in by_weights.lineage
    assert by_weights.on_model(model, MODULE).facts.parameters == pruned(model, heads=0.5).facts.parameters
    seen: Any = level(heads=0.5).lineage["seen"]
    assert seen["corpus"]["digest"] == CORPUS.digest
    other = corpora.split("other", CORPUS.text[100_000:])
    digests = {level(text, heads=0.5).on_model(model, MODULE).facts.weights_digest for text in (CORPUS, other)}
    assert len(digests) == 2


def test_the_number_of_threads_does_not_matter_and_stays() -> None:
    model = built()
    before = torch.get_num_threads()
    states = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        states.append(pruned(model, heads=0.5, neurons=0.5).module.state_dict())
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_the_level_claims_no_zeros() -> None:
    method = level(heads=0.5)
    assert not method.sparse
    assert method.lineage["method"] == method.name == "prune-structured"
    assert (method.lineage["heads"], method.lineage["neurons"]) == (0.5, 0.0)
