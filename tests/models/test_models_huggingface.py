"""Hugging Face directories: a tiny random Llama through save, load, cache, counts; refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lmbench.base.errors import ConfigError, SubjectError, Unavailable
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.huggingface import build, parameters
from tests.models import contract

SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def saved(folder: Path, causal: Any, corpus: Corpus) -> str:
    causal.save_pretrained(folder)
    tokenizer = tokenizers.bpe(corpus, 300)
    assert isinstance(tokenizer, tokenizers.FileTokenizer)
    tokenizer.save(folder / "tokenizer.json")
    return str(folder)


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_key_value_heads": 2, "tie_word_embeddings": True, **changes}))


def test_a_llama_directory_keeps_the_contract(tmp_path: Path, corpus: Corpus) -> None:
    causal = llama()
    model = build("tiny", {"path": saved(tmp_path, causal, corpus)}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)
    contract.check_flops(model)
    ids = contract.some_ids(model, 2, 6)
    with torch.no_grad():
        own = causal.eval()(ids).logits
        torch.testing.assert_close(model.module(ids, torch.arange(6), *model.empty_state(2))[0], own, atol=1e-5, rtol=1e-4)
    block = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48 + 2 * 32
    assert model.facts.parameters == 500 * 32 + 2 * block + 32  # the tied head counts once
    assert parameters("tiny", {"path": str(tmp_path)}, corpus) == model.facts.parameters
    assert (model.facts.vocab_size, model.facts.max_tokens, model.facts.carries_state) == (500, 64, True)
    assert model.tokenizer.decode(model.tokenizer.encode("words\n")) == "words\n"


def test_an_untied_head_counts(tmp_path: Path, corpus: Corpus) -> None:
    tied = build("t", {"path": saved(tmp_path / "t", llama(), corpus)}, corpus, 0)
    untied = build("u", {"path": saved(tmp_path / "u", llama(tie_word_embeddings=False), corpus)}, corpus, 0)
    assert untied.facts.parameters == tied.facts.parameters + 500 * 32
    assert untied.facts.weights_digest != tied.facts.weights_digest


def test_the_same_weights_by_another_configuration_are_computed_by_other_code(tmp_path: Path, corpus: Corpus) -> None:
    plain = build("p", {"path": saved(tmp_path / "p", llama(), corpus)}, corpus, 0)
    other = build("o", {"path": saved(tmp_path / "o", llama(rms_norm_eps=1e-3), corpus)}, corpus, 0)
    again = build("a", {"path": saved(tmp_path / "a", llama(), corpus)}, corpus, 0)
    assert plain.facts.weights_digest == other.facts.weights_digest == again.facts.weights_digest
    assert plain.facts.code_digest == again.facts.code_digest != other.facts.code_digest


def test_another_architecture_runs_without_a_flop_rule(tmp_path: Path, corpus: Corpus) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    causal = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_positions=64, n_embd=32, n_layer=2, n_head=4))
    model = build("gpt2", {"path": saved(tmp_path, causal, corpus), "max_tokens": 32}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_state_bytes(model)
    assert model.flops(batch=1, tokens=4) is None
    assert model.facts.max_tokens == 32


def test_logits_that_the_head_does_not_give_alone_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    sizes = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 0.01}
    path = saved(tmp_path, Gemma2ForCausalLM(Gemma2Config(**sizes)), corpus)
    with pytest.raises(SubjectError, match="largest difference"):
        build("gemma", {"path": path}, corpus, 0)


def test_a_directory_without_a_causal_model_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"without config\.json"):
        build("none", {"path": str(tmp_path)}, corpus, 0)
    with pytest.raises(ConfigError, match=r"none\.gguf', which is not there"):
        build("none", {"path": str(tmp_path / "none.gguf")}, corpus, 0)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SubjectError, match="could not be loaded"):
        build("none", {"path": str(tmp_path)}, corpus, 0)


def test_smollm2_says_how_to_get_it(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        build("smol", {"path": "smollm2"}, corpus, 0)
    assert caught.value.remedy == "run `lmbench fetch smollm2`"
