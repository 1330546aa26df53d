"""GGUF conversion: a tiny file written here comes back as the weights it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmbench.base.errors import FetchError
from lmbench.data.corpora import Corpus
from lmbench.models import gguf
from lmbench.models.huggingface import build

HIDDEN, HEADS, KV_HEADS, MLP = 32, 4, 2, 64
TOKENS = ["<|end|>", *(chr(code) for code in range(ord("a"), ord("z") + 1)), "Ġ", "Ċ", "ab", "3", "4"]


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp orders them: within a head, pairs (i, i + half) side by side."""
    rows = weight.shape[0] // heads
    order = [head * rows + half * rows // 2 + pair for head in range(heads) for pair in range(rows // 2) for half in (0, 1)]
    return weight[order]


def pieces() -> tuple[list[str], list[float], list[int]]:
    """A SentencePiece vocabulary: tokens, scores, types (unknown, control, byte, normal)."""
    words = ["\u2581", *"adenrt", "an", "and", "\u2581a", "re", "\u2581and", "de", "\u2581de"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    return tokens, [0.0] * 259 + [-float(rank) for rank in range(len(words))], [2, 3, 3] + [6] * 256 + [1] * len(words)


def add_vocabulary(writer: Any, kind: str) -> int:
    """Write a vocabulary: 'pieces', or byte-level of that kind; its size."""
    writer.add_tokenizer_pre("default" if kind == "pieces" else kind)
    tokens, scores, types = pieces() if kind == "pieces" else (TOKENS, [], [3] + [1] * (len(TOKENS) - 1))
    writer.add_tokenizer_model("llama" if kind == "pieces" else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    if scores:
        writer.add_token_scores(scores)
    else:
        writer.add_token_merges(["a b"])
    return len(tokens)


def write(path: Path, architecture: str = "llama", vocabulary: str = "smollm", extra: str = "") -> dict[str, np.ndarray]:
    import gguf as library

    draw = np.random.default_rng(0)
    kv = HIDDEN // HEADS * KV_HEADS
    shapes = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (kv, HIDDEN), "attn_v": (kv, HIDDEN), "attn_output": (HIDDEN, HIDDEN)}
    shapes |= {"ffn_gate": (MLP, HIDDEN), "ffn_up": (MLP, HIDDEN), "ffn_down": (HIDDEN, MLP)}
    weights = {name: draw.normal(scale=0.1, size=shape).astype(np.float32) for name, shape in shapes.items()}
    writer = library.GGUFWriter(str(path), architecture)
    embedding = draw.normal(size=(add_vocabulary(writer, vocabulary), HIDDEN)).astype(np.float32)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}
    for name, weight in weights.items():
        writer.add_tensor(f"blk.0.{name}.weight", permuted(weight, heads[name]) if name in heads else weight)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm", *([extra] if extra else [])):
        writer.add_tensor(f"{name}.weight", np.ones(HIDDEN, dtype=np.float32))
    quantized = library.quantize(embedding, library.GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", quantized, raw_dtype=library.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {**weights, "embedding": embedding}


def test_a_converted_file_is_a_model_with_the_written_weights(tmp_path: Path, corpus: Corpus) -> None:
    written = write(tmp_path / "tiny.gguf")
    lines: list[str] = []
    folder = gguf.convert(tmp_path / "tiny.gguf", lines.append)
    assert len(lines) == 4
    model = build("tiny", {"path": str(folder)}, corpus, 0)
    weights = {name: tensor.numpy() for name, tensor in model.module.causal.state_dict().items()}
    np.testing.assert_array_equal(weights["model.layers.0.self_attn.q_proj.weight"], written["attn_q"])
    np.testing.assert_array_equal(weights["model.layers.0.self_attn.k_proj.weight"], written["attn_k"])
    np.testing.assert_array_equal(weights["model.layers.0.mlp.down_proj.weight"], written["ffn_down"])
    np.testing.assert_allclose(weights["model.embed_tokens.weight"], written["embedding"], atol=0.03)
    assert (model.facts.vocab_size, model.facts.max_tokens) == (len(TOKENS), 64)
    assert model.tokenizer.encode("abc\n34") == [TOKENS.index(token) for token in ("ab", "c", "Ċ", "3", "4")]
    assert model.tokenizer.encode("<|end|>") == [0]
    assert gguf.convert(tmp_path / "tiny.gguf", lines.append) == folder
    assert len(lines) == 4


def test_a_suite_may_name_the_file_itself(tmp_path: Path, corpus: Corpus) -> None:
    write(tmp_path / "tiny.gguf")
    model = build("tiny", {"path": str(tmp_path / "tiny.gguf")}, corpus, 0)
    assert model.facts.details["stored"] == {"F32": 10, "Q8_0": 1}
    folder = gguf.convert(tmp_path / "tiny.gguf", lambda _: None)
    assert gguf.held(tmp_path / "tiny.gguf") == model.facts.parameters
    assert model.facts.weights_digest == build("folder", {"path": str(folder)}, corpus, 0).facts.weights_digest


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [("smollm", "abc 34\nab<|end|>b"), ("gpt-2", "abc 34\nab<|end|>b"), ("pieces", "and a dean read\nÜ and 7")],
)
def test_it_is_the_model_that_llama_cpp_makes_of_the_file(tmp_path: Path, corpus: Corpus, vocabulary: str, text: str) -> None:
    reason = "llama-cpp-python is not installed; run: pip install 'pytest-lmbench[llama]'"
    llama_cpp = pytest.importorskip("llama_cpp", reason=reason)
    write(tmp_path / "tiny.gguf", vocabulary=vocabulary)
    model = build("tiny", {"path": str(tmp_path / "tiny.gguf")}, corpus, 0)
    own = llama_cpp.Llama(str(tmp_path / "tiny.gguf"), verbose=False, logits_all=True, n_ctx=64)
    ids = own.tokenize(text.encode(), add_bos=False, special=True)
    assert model.tokenizer.encode(text) == ids
    own.eval(ids)
    with torch.no_grad():
        logits = model.module(torch.tensor([ids]), torch.arange(len(ids)), *model.empty_state(1))[0][0].numpy()
    assert np.abs(logits - np.array(own.eval_logits)).max() < 0.01 * np.abs(logits).max()  # it keeps the head in 8 bits


def test_what_is_no_dense_llama_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "qwen.gguf", vocabulary="qwen2")
    with pytest.raises(FetchError, match="byte-level vocabulary 'qwen2'; expected gpt-2 or smollm"):
        gguf.convert(tmp_path / "qwen.gguf", lambda _: None)
    for extra in ("rope_freqs", "blk.0.ffn_gate_inp"):
        write(tmp_path / "more.gguf", extra=extra)
        with pytest.raises(FetchError, match=rf"tensor '{extra}\.weight'; expected a dense Llama"):
            gguf.convert(tmp_path / "more.gguf", lambda _: None)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.gguf", architecture="gemma3")
    with pytest.raises(FetchError, match="architecture 'gemma3'"):
        gguf.convert(tmp_path / "other.gguf", lambda _: None)


def test_what_is_not_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a model" * 10)
    with pytest.raises(FetchError, match="could not be converted"):
        gguf.convert(tmp_path / "no.gguf", lambda _: None)
    with pytest.raises(FetchError, match="is not a file"):
        gguf.convert(tmp_path / "none.gguf", lambda _: None)
