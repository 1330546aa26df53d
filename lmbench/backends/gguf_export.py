"""A model of the Llama architecture to a GGUF file, once: cached by weights, level and versions."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.backends.artifact import Artifact, made
from lmbench.base.errors import SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, FloatArray, LanguageModel

RECIPE = 1
"""Raise when the export changes, so that files of the old recipe are not found."""
WEIGHTS = "gguf"
FILE, FACTS = "model.gguf", "facts.json"
NO_VOCABULARY = "no_vocab"
"""llama.cpp's name of a model that is given token ids; the text stays on our side."""
LLAMA_TYPES = ("llama", "mistral")
"""Hugging Face model types that compute what llama.cpp's architecture 'llama' does (within the sliding window, if any)."""
_DECODER = {
    "embedding": "token_embd",
    "norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}
_HUGGING_FACE = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """A Llama-shaped module: its sizes, and what its parts are called in a GGUF file."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    norm_epsilon: float
    rotary_base: float
    module: Any
    names: Mapping[str, str]


def prepare(model: LanguageModel, method: Compression) -> Artifact:
    """The GGUF file of `model` at this level, from the cache or built now.

    Facts: weight_bytes, types (number of tensors per GGML type), and zero_share where everything is stored in fp32.
    """
    built: list[str] = []
    llama = llama_of(model)
    source = exported(model, llama)

    def change(folder: Path) -> None:
        changed = method.on_file(model, source, folder, WEIGHTS)
        (folder / FACTS).write_text(json.dumps(file_facts(changed)), encoding="utf-8")
        built.append("file")

    folder = made(WEIGHTS, model, _key(model, llama) | {"level": dict(method.lineage)}, change)
    path = folder / FILE if (folder / FILE).exists() else source
    facts = read_object(folder / FACTS)
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=(path,))


def exported(model: LanguageModel, llama: Llama) -> Path:
    """The fp32 GGUF file of a torch model, from the cache or built now."""
    return made(WEIGHTS, model, _key(model, llama), lambda folder: write(model, llama, folder / FILE)) / FILE


def write(model: LanguageModel, llama: Llama, path: Path) -> None:
    """Write the model to `path` in fp32, without a vocabulary: it is given ids, not text."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(model.facts.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model(NO_VOCABULARY)
    writer.add_vocab_size(model.facts.vocab_size)
    writer.add_context_length(model.facts.max_tokens)
    writer.add_block_count(llama.layers)
    writer.add_embedding_length(llama.hidden)
    writer.add_feed_forward_length(llama.mlp)
    writer.add_head_count(llama.heads)
    writer.add_head_count_kv(llama.kv_heads)
    writer.add_key_length(llama.head_size)
    writer.add_value_length(llama.head_size)
    writer.add_rope_dimension_count(llama.head_size)
    writer.add_rope_freq_base(llama.rotary_base)
    writer.add_layer_norm_rms_eps(llama.norm_epsilon)
    for name, weight in tensors(llama):
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_of(model: LanguageModel) -> Llama:
    """The Llama in `model`; SubjectError naming what about it llama.cpp's architecture 'llama' does not compute."""
    known = {"decoder": _decoder, "huggingface": _hugging_face}
    if model.facts.family not in known:
        raise _refused(model, [f"family {model.facts.family!r}; expected {' or '.join(known)}"])
    return known[model.facts.family](model)


def tensors(llama: Llama) -> Iterator[tuple[str, FloatArray]]:
    """Names and fp32 values of all weights as llama.cpp orders them; one shared by two layers comes once."""
    heads = {"attn_q": llama.heads, "attn_k": llama.kv_heads}
    for name, parameter in llama.module.named_parameters():
        part, _, kind = name.removeprefix("model.").rpartition(".")
        place, part = _place(part)
        known = llama.names.get(part)
        if known is None:
            raise SubjectError(
                f"found the weight {name!r} in {type(llama.module).__name__}, which no Llama has; use torch for it"
            )
        weight = parameter.detach().cpu().float().numpy()
        yield f"{place}{known}.{kind}", _permute(weight, heads[known]) if known in heads else weight


def file_facts(path: Path) -> dict[str, object]:
    """Bytes of all weights, tensors per GGML type, and the share of zeros where all of them are stored in fp32."""
    import gguf

    stored = gguf.GGUFReader(path).tensors
    types = Counter(tensor.tensor_type.name for tensor in stored)
    facts: dict[str, object] = {"weight_bytes": sum(int(tensor.n_bytes) for tensor in stored), "types": dict(types)}
    if set(types) == {"F32"}:
        total = sum(int(tensor.n_elements) for tensor in stored)
        facts["zero_share"] = (total - sum(int(np.count_nonzero(tensor.data)) for tensor in stored)) / max(total, 1)
    return facts


def _decoder(model: LanguageModel) -> Llama:
    shape = model.module.shape
    expected = {"activation": "swiglu", "norm": "rms", "positions": "rotary"}
    strange = [
        f"{key} {getattr(shape, key)}; expected {value}" for key, value in expected.items() if getattr(shape, key) != value
    ]
    if strange:
        raise _refused(model, strange)
    return Llama(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_size=shape.head_size,
        mlp=shape.mlp,
        norm_epsilon=model.module.norm.eps,
        rotary_base=shape.rotary_base,
        module=model.module,
        names=_DECODER,
    )


def _hugging_face(model: LanguageModel) -> Llama:
    config = model.module.causal.config
    rotary = getattr(config, "rope_parameters", None) or {}
    strange = []
    if config.model_type not in LLAMA_TYPES:
        strange.append(f"model type {config.model_type!r}; expected {' or '.join(LLAMA_TYPES)}")
    elif config.hidden_act != "silu":
        strange.append(f"activation {config.hidden_act!r}; expected 'silu'")
    elif set(rotary) - {"rope_type", "rope_theta"} or rotary.get("rope_type") != "default":
        strange.append(f"rotary positions {rotary!r}; expected plain ones, of a base alone")
    if strange:
        raise _refused(model, strange)
    return Llama(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=config.head_dim or config.hidden_size // config.num_attention_heads,
        mlp=config.intermediate_size,
        norm_epsilon=config.rms_norm_eps,
        rotary_base=rotary["rope_theta"],
        module=model.module.causal,
        names=_HUGGING_FACE,
    )


def _refused(model: LanguageModel, strange: list[str]) -> SubjectError:
    what = f"model {model.facts.name!r} is not what llama.cpp computes by its architecture 'llama'"
    return SubjectError(f"{what}: found {', '.join(strange)}; use the torch backend for it")


def _place(part: str) -> tuple[str, str]:
    """'blocks.3.attention.key' -> ('blk.3.', 'attention.key'); a part outside all blocks -> ('', part)."""
    head, _, rest = part.partition(".")
    if head not in ("blocks", "layers"):
        return "", part
    number, _, inner = rest.partition(".")
    return f"blk.{number}.", inner


def _permute(weight: FloatArray, heads: int) -> FloatArray:
    """Rows of queries and keys with the two numbers that a rotation turns side by side; torch has them half a head apart."""
    paired = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(weight.shape)


def _key(model: LanguageModel, llama: Llama) -> dict[str, object]:
    """Everything a file depends on beside the weights: the same ones in other heads or rotations are another model."""
    versions = {name: importlib.metadata.version(name) for name in ("gguf", "llama-cpp-python", "pytest-lmbench")}
    numbers = {field.name: getattr(llama, field.name) for field in fields(llama) if field.name not in ("module", "names")}
    return {"recipe": RECIPE, "versions": versions, **numbers, "max_tokens": model.facts.max_tokens}
