"""Conversion of a GGUF file to a Hugging Face directory (fp32 safetensors, tokenizer.json), done once and cached.

Dense models of the architecture 'llama', with a SentencePiece vocabulary or a byte-level one of the kinds below; anything
else is refused. What transformers offers for this reads text of SmolLM's kind otherwise than llama.cpp (as of 5.23), and
needs accelerate.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.cache import build_once
from lmbench.base.digest import sha256_file
from lmbench.base.errors import FetchError, Unavailable
from lmbench.base.reading import is_file
from lmbench.base.seams import FloatArray
from lmbench.data.pretrained import KIND, conversion_key, smollm2_folder

_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3
"""Value of llama.cpp's LLAMA_TOKEN_TYPE_CONTROL: a token that text never spells."""
_SPLITS_DIGITS = {"gpt-2": False, "smollm": True}
"""Kinds of byte-level vocabularies that cut text as GPT-2 does: whether they cut numbers into digits first."""
STORED = "stored.json"
"""In the directory: how many tensors the file held in which GGML type."""


def convert(gguf_path: Path, progress: Callable[[str], None]) -> Path:
    """Return the Hugging Face directory made from `gguf_path` (config.json, model.safetensors, tokenizer.json).

    Quantized weights are expanded to fp32 exactly as stored. Converted once per file content; `progress` gets one
    line per stage. Raises FetchError when the file is missing or is not a llama-architecture model.
    """
    if not is_file(gguf_path):
        raise FetchError(f"{gguf_path} is not a file; expected a GGUF file")

    def build(folder: Path) -> None:
        try:
            _convert(gguf_path, folder, progress)
        except (ValueError, KeyError, OSError) as fault:
            raise FetchError(f"{gguf_path} could not be converted: {fault}") from fault

    return build_once(KIND, conversion_key(sha256_file(gguf_path)), build)


def held(gguf_path: Path) -> int:
    """Parameters in a GGUF file, read off its header; FetchError when it is not one."""
    import gguf

    try:
        return sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(str(gguf_path)).tensors)
    except (ValueError, KeyError, OSError) as fault:
        raise FetchError(f"{gguf_path} could not be read: {fault}") from fault


def converted_smollm2() -> Path:
    """The converted SmolLM2-135M-Instruct; raises Unavailable when it has not been fetched."""
    folder = smollm2_folder()
    if folder is None:
        raise Unavailable("SmolLM2-135M is not in the cache", "run `lmbench fetch smollm2`")
    return folder


def _convert(gguf_path: Path, folder: Path, progress: Callable[[str], None]) -> None:
    import gguf
    from safetensors.numpy import save_file

    progress(f"{gguf_path.name}: reading")
    reader = gguf.GGUFReader(str(gguf_path))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _require_known(gguf_path, fields, [tensor.name for tensor in reader.tensors])
    progress(f"{gguf_path.name}: writing the tokenizer")
    write = _write_byte_level if fields["tokenizer.ggml.model"] == "gpt2" else _write_sentence_pieces
    write(gguf_path, fields, folder)
    progress(f"{gguf_path.name}: expanding {len(reader.tensors)} tensors to fp32")
    tensors = dict(_tensors(reader, fields))
    progress(f"{gguf_path.name}: writing safetensors")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_config(fields, tensors, folder)
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    (folder / STORED).write_text(json.dumps(types), encoding="utf-8")


def _require_known(gguf_path: Path, fields: Mapping[str, Any], tensors: list[str]) -> None:
    architecture, vocabulary = fields.get("general.architecture"), fields.get("tokenizer.ggml.model")
    if architecture != "llama" or vocabulary not in ("gpt2", "llama"):
        found = f"architecture {architecture!r}, tokenizer {vocabulary!r}"
        raise FetchError(f"{gguf_path.name} has {found}; expected 'llama', and 'gpt2' or 'llama'")
    kind = fields.get("tokenizer.ggml.pre")
    if vocabulary == "gpt2" and kind not in _SPLITS_DIGITS:
        raise FetchError(f"{gguf_path.name} has a byte-level vocabulary {kind!r}; expected {' or '.join(_SPLITS_DIGITS)}")
    strange = [name for name in tensors if name not in _WHOLE and not _in_block(name)]
    if strange or fields.get("llama.rope.scaling.type", "none") != "none":
        found = f"tensor {strange[0]!r}" if strange else "scaled rotary positions"
        raise FetchError(f"{gguf_path.name} has {found}; expected a dense Llama with plain rotary positions")


def _in_block(name: str) -> bool:
    head, _, rest = name.partition(".")
    return head == "blk" and rest.endswith(".weight") and rest.split(".")[1] in _BLOCK


def _tensors(reader: Any, fields: Mapping[str, Any]) -> Iterator[tuple[str, FloatArray]]:
    import gguf

    heads = {"attn_q": _heads(fields), "attn_k": _kv_heads(fields)}
    for tensor in reader.tensors:
        weight = np.ascontiguousarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if tensor.name in _WHOLE:
            yield _WHOLE[tensor.name], weight
            continue
        _, layer, part, kind = tensor.name.split(".")
        yield f"model.layers.{layer}.{_BLOCK[part]}.{kind}", _unpermute(weight, heads[part]) if part in heads else weight


def _heads(fields: Mapping[str, Any]) -> int:
    return int(fields["llama.attention.head_count"])


def _kv_heads(fields: Mapping[str, Any]) -> int:
    return int(fields.get("llama.attention.head_count_kv", _heads(fields)))


def _unpermute(weight: FloatArray, heads: int) -> FloatArray:
    """Undo llama.cpp's order of rows: it keeps the two halves of each rotary pair together, transformers keeps them apart."""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns))


def _write_config(fields: Mapping[str, Any], tensors: Mapping[str, FloatArray], folder: Path) -> None:
    from transformers import LlamaConfig

    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(tensors["model.embed_tokens.weight"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=_heads(fields),
        num_key_value_heads=_kv_heads(fields),
        head_dim=fields.get("llama.attention.key_length"),
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields.get("llama.rope.freq_base", 10000.0)},
        tie_word_embeddings="lm_head.weight" not in tensors,
        bos_token_id=fields.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=fields.get("tokenizer.ggml.eos_token_id"),
    ).save_pretrained(folder)


def _write_sentence_pieces(gguf_path: Path, fields: Mapping[str, Any], folder: Path) -> None:
    from transformers import AutoTokenizer

    del fields
    AutoTokenizer.from_pretrained(gguf_path.parent, gguf_file=gguf_path.name, local_files_only=True).save_pretrained(folder)


def _write_byte_level(gguf_path: Path, fields: Mapping[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    del gguf_path
    names, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=merges))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if _SPLITS_DIGITS[fields["tokenizer.ggml.pre"]]:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    control = [name for name, kind in zip(names, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in control])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_named(names, fields.get("tokenizer.ggml.bos_token_id")),
        eos_token=_named(names, fields.get("tokenizer.ggml.eos_token_id")),
        chat_template=fields.get("tokenizer.chat_template"),
    ).save_pretrained(folder)


def _named(names: list[str], number: int | None) -> str | None:
    return None if number is None else names[number]
