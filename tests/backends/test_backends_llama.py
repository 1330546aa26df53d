"""llama.cpp: what it answers is what torch answers, from every state, and what it cannot compute is refused by name."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Engine, FloatArray, IntArray, LanguageModel
from lmbench.compress.none import build as none
from lmbench.compress.prune import build_magnitude
from lmbench.compress.structured import build as prune_structured
from lmbench.data import corpora
from lmbench.data.corpora import Corpus
from lmbench.data.tokenizers import bpe
from lmbench.models import decoder as decoders
from lmbench.models import huggingface
from tests.models.exported import check_engine

REASON = "llama-cpp-python is not installed; run: pip install 'pytest-lmbench[llama]'"
llama_cpp = pytest.importorskip("llama_cpp", reason=REASON)
pytest.importorskip("gguf", reason=REASON)
from lmbench.backends import gguf_export  # noqa: E402
from lmbench.backends import llama_cpp as backend  # noqa: E402
from lmbench.backends.llama_context import Weights  # noqa: E402

TOKENS = 12
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"kv_heads": 2},
    "one-key-head": {"kv_heads": 1, "rotary_base": 500.0},
    "tied": {"tied": True},
    "bias": {"bias": True, "kv_heads": 2},
    "wide": {"hidden": 64, "heads": 2, "mlp": 100},
}


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return corpora.split("words", "the quick brown fox jumps over the lazy dog\n" * 50)


def nano(corpus: Corpus, **options: Any) -> Any:
    return decoders.build("nano", {"size": "nano", "max_tokens": 64, **options}, corpus, 1)


@pytest.fixture(scope="session")
def model(cache: Path, corpus: Corpus) -> Any:
    """A decoder of grouped queries."""
    del cache
    return nano(corpus, kv_heads=2)


def hugging_face(folder: Path, corpus: Corpus, kind: str = "Llama", **changes: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True, **changes}
    causal = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**sizes))
    causal.save_pretrained(folder)
    tokenizer: Any = bpe(corpus, 280)
    tokenizer.save(folder / "tokenizer.json")
    return huggingface.build("tiny", {"path": str(folder)}, corpus, 0)


def load(model: LanguageModel, **options: Any) -> Engine:
    return backend.load(model, none({}), {"threads": 1, **options})


def some_ids(batch: int, tokens: int = TOKENS) -> IntArray:
    return np.random.default_rng(3).integers(0, 256, size=(batch, tokens))


def expected(model: Any, ids: IntArray) -> FloatArray:
    with torch.no_grad():
        logits: FloatArray = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(len(ids)))[0].numpy()
    return logits


def close_to(found: FloatArray, wanted: FloatArray) -> bool:
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoders_answer_as_in_torch(corpus: Corpus, variant: str) -> None:
    model = nano(corpus, **VARIANTS[variant])
    check_engine(load(model), model, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Llama", {}),
        ("Llama", {"tie_word_embeddings": False, "head_dim": 16, "rms_norm_eps": 1e-3}),
        ("Llama", {"attention_bias": True, "mlp_bias": True}),
        ("Mistral", {"sliding_window": None}),
    ],
)
def test_hugging_face_llamas_answer_as_in_torch(tmp_path: Path, corpus: Corpus, kind: str, changes: dict[str, Any]) -> None:
    model = hugging_face(tmp_path, corpus, kind, **changes)
    with torch.no_grad():  # what a fresh model leaves at 0 or 1 would not show whether it is exported
        for parameter in model.module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    check_engine(load(model), model, atol=1e-4)


def test_logits_are_those_of_the_positions_asked_for(model: Any) -> None:
    engine, ids = load(model), some_ids(2)
    positions = np.array([7, 0, 11, 7])
    logits, _ = engine.forward(ids, positions, engine.empty_state(2))
    assert logits.dtype == np.float32
    assert close_to(logits, expected(model, ids)[:, positions])


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=8), batch=st.integers(1, 5))
def test_any_steps_give_what_one_pass_gives(model: Any, engine: Engine, sizes: list[int], batch: int) -> None:
    ids = some_ids(batch, min(sum(sizes), 64))
    full, state, done = expected(model, ids), engine.empty_state(batch), 0
    for size in sizes:
        part = ids[:, done : done + size]
        if part.shape[1]:
            logits, state = engine.forward(part, np.arange(part.shape[1]), state)
            assert close_to(logits, full[:, done : done + size])
            done += part.shape[1]
            assert sum(part.nbytes for part in state) == model.state_bytes(batch=batch, tokens=done)


@pytest.fixture(scope="session")
def engine(model: Any) -> Engine:
    return load(model)


def test_states_of_several_batches_live_beside_each_other(model: Any, engine: Engine) -> None:
    first, second = some_ids(1), some_ids(3)[:, ::-1].copy()
    _, one = engine.forward(first[:, :5], np.array([4]), engine.empty_state(1))
    _, other = engine.forward(second[:, :3], np.array([2]), engine.empty_state(3))
    for place in range(5, TOKENS):
        logits, one = engine.forward(first[:, place : place + 1], np.array([0]), one)
        assert close_to(logits[:, 0], expected(model, first)[:, place])
        logits, other = engine.forward(second[:, place - 2 : place - 1], np.array([0]), other)
        assert close_to(logits[:, 0], expected(model, second)[:, place - 2])


def test_an_earlier_state_can_be_gone_on_from_again(model: Any, engine: Engine) -> None:
    ids = some_ids(2)
    other = (ids + 1) % 256
    _, early = engine.forward(ids[:, :4], np.array([3]), engine.empty_state(2))
    _, late = engine.forward(ids[:, 4:9], np.array([4]), early)
    mixed = np.concatenate([ids[:, :4], other[:, 4:]], axis=1)
    logits, after = engine.forward(other[:, 4:9], np.arange(5), early)
    assert close_to(logits, expected(model, mixed)[:, 4:9])
    with pytest.raises(SubjectError, match="state of 9 tokens that llama-cpp has overwritten"):
        engine.forward(ids[:, 9:], np.array([0]), late)
    logits, _ = engine.forward(other[:, 9:], np.arange(3), after)
    assert close_to(logits, expected(model, mixed)[:, 9:])


def test_threads_share_an_engine(model: Any, engine: Engine) -> None:
    def generate(row: IntArray) -> FloatArray:
        state, parts = engine.empty_state(1), []
        for place in range(TOKENS):
            logits, state = engine.forward(row[None, place : place + 1], np.array([0]), state)
            parts.append(logits[:, 0])
        return np.stack(parts, axis=1)

    ids = some_ids(8)
    with ThreadPoolExecutor(4) as pool:
        for found, row in zip(pool.map(generate, ids), ids, strict=True):
            assert close_to(found, expected(model, row[None]))


def test_memory_is_taken_once_for_what_is_alive_at_a_time(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made = load(model), list[int]()
    make = llama_cpp.llama_init_from_model

    def counted(weights: Any, params: Any) -> Any:
        made.append(params.n_seq_max)
        context = make(weights, params)
        tokens = llama_cpp.llama_n_ctx_seq(context)
        assert engine.describe()["state_reserved_bytes"] == model.state_bytes(batch=1, tokens=tokens)
        return context

    monkeypatch.setattr(llama_cpp, "llama_init_from_model", counted)
    for batch in (2, 2, 1, 4, 3, 1):
        engine.forward(some_ids(batch), np.array([0]), engine.empty_state(batch))
    gc.collect()
    assert made == [2, 4]
    held = [engine.empty_state(3), engine.empty_state(3)]
    assert made == [2, 4, 3]
    engine.close()
    del held


def test_what_there_is_no_room_for_is_an_error(model: Any, engine: Engine) -> None:
    short = load(model, max_tokens=8)
    _, state = short.forward(some_ids(1, 6), np.array([5]), short.empty_state(1))
    with pytest.raises(SubjectError, match=r"found 6 and 3 more tokens; expected at most 8 .* max_tokens"):
        short.forward(some_ids(1, 3), np.array([0]), state)
    logits, _ = short.forward(some_ids(1, 8)[:, 6:], np.array([1]), state)
    assert close_to(logits[:, 0], expected(model, some_ids(1, 8))[:, 7])
    assert load(model, max_tokens=1000).describe()["max_tokens"] == model.facts.max_tokens
    with pytest.raises(SubjectError, match="batch of 1000"):
        engine.empty_state(1000)


def test_a_step_that_fails_leaves_the_state_as_it_was(model: Any, engine: Engine) -> None:
    ids = some_ids(2)
    _, state = engine.forward(ids[:, :5], np.array([4]), engine.empty_state(2))
    with pytest.raises(SubjectError, match="invalid token"):
        engine.forward(ids[:, 5:7] + 10_000, np.array([0]), state)
    logits, _ = engine.forward(ids[:, 5:], np.arange(7), state)
    assert close_to(logits, expected(model, ids)[:, 5:])


def test_pruned_models_keep_their_zeros(model: Any) -> None:
    level = build_magnitude({"sparsity": 0.5})
    pruned: Any = level.on_model(model, "gguf")
    engine = backend.load(pruned, level, {"threads": 1})
    logits, _ = engine.forward(some_ids(2), np.arange(TOKENS), engine.empty_state(2))
    assert close_to(logits, expected(pruned, some_ids(2)))
    zeros = sum(int((parameter == 0).sum()) for parameter in pruned.module.parameters())
    assert engine.describe()["zero_share"] == pytest.approx(zeros / model.facts.parameters)
    assert load(model).describe()["zero_share"] == 0


def test_it_tells_what_it_holds(corpus: Corpus) -> None:
    fresh = nano(corpus, layers=3)
    first, second = load(fresh).describe(), load(fresh).describe()
    assert (first["artifact"], second["artifact"]) == ("built", "cached")
    assert first["weight_bytes"] == 4 * fresh.facts.parameters
    artifact = backend.export(fresh, none({}), {})
    assert first["disk_bytes"] == artifact.path.stat().st_size == artifact.disk_bytes
    assert first["types"] == {"F32": 3 + 3 * 9}
    assert (first["dtype"], first["state_dtype"], first["threads"], first["device"]) == ("float32", "float32", 1, "cpu")


def test_it_says_nothing(corpus: Corpus, capfd: pytest.CaptureFixture[str]) -> None:
    engine = load(nano(corpus, mlp=32))
    engine.forward(some_ids(1), np.array([0]), engine.empty_state(1))
    engine.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"activation": "gelu"}, "activation gelu; expected swiglu"),
        ({"norm": "layer", "positions": "learned"}, "norm layer; expected rms, positions learned; expected rotary"),
    ],
)
def test_decoders_of_another_shape_are_refused(corpus: Corpus, options: dict[str, Any], found: str) -> None:
    with pytest.raises(SubjectError, match=f"architecture 'llama': found {found}; use the torch backend"):
        backend.export(nano(corpus, **options), none({}), {})


def test_other_families_are_refused(decoder: LanguageModel, tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(SubjectError, match="family 'tiny-decoder'; expected decoder or huggingface"):
        backend.export(decoder, none({}), {})
    with pytest.raises(SubjectError, match="model type 'qwen2'; expected llama or mistral"):
        backend.export(hugging_face(tmp_path / "qwen", corpus, "Qwen2"), none({}), {})
    scaled: dict[str, Any] = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}
    with pytest.raises(SubjectError, match=r"rotary positions .*'linear'.*; expected plain ones"):
        backend.export(hugging_face(tmp_path / "scaled", corpus, **scaled), none({}), {})
    with pytest.raises(SubjectError, match="activation 'gelu'"):
        backend.export(hugging_face(tmp_path / "gelu", corpus, hidden_act="gelu"), none({}), {})


def test_a_weight_no_llama_has_is_refused_by_name(corpus: Corpus) -> None:
    strange = nano(corpus)
    strange.module.blocks[1].scale = torch.nn.Linear(4, 4)
    with pytest.raises(SubjectError, match=r"the weight 'blocks\.1\.scale\.weight' in Decoder"):
        list(gguf_export.tensors(gguf_export.llama_of(strange)))


def test_the_same_weights_in_other_heads_are_another_file(corpus: Corpus) -> None:
    plain, other = nano(corpus, rotary_base=100.0), nano(corpus, rotary_base=100.0, heads=2)
    assert plain.facts.weights_digest == other.facts.weights_digest
    check_engine(load(plain), plain, atol=1e-5)
    check_engine(load(other), other, atol=1e-5)


def test_a_decoder_without_some_heads_and_neurons_answers_as_in_torch(corpus: Corpus) -> None:
    method = prune_structured({"heads": 0.5, "neurons": 0.25, "ranked_by": "weights"})
    smaller: Any = method.on_model(nano(corpus, kv_heads=2), MODULE)
    assert gguf_export.llama_of(smaller).heads == 2
    check_engine(load(smaller), smaller, atol=1e-5)


@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"max_tokens": 0}, {"max_tokens": "all"}])
def test_wrong_options_are_faults_of_configuration(model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"thread|max_tokens"):
        backend.load(model, none({}), options)


def test_a_file_that_is_not_gguf_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a model" * 10)
    with pytest.raises(SubjectError, match=r"cannot load .*no\.gguf: .*magic"):
        Weights(tmp_path / "no.gguf")
