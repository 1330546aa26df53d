"""Any causal language model in a local Hugging Face directory or GGUF file, in fp32, its cache handled as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.base.digest import digest_bytes
from lmbench.base.errors import SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.reading import is_file
from lmbench.base.seams import ModelFacts
from lmbench.data.corpora import Corpus
from lmbench.data.tokenizers import from_file
from lmbench.models.built import BuiltModel, Shapes, StateShapes, code_digest, count_parameters, torch_zeros, weights_digest
from lmbench.models.flops import DecoderSizes, decoder_rule
from lmbench.models.gguf import STORED, convert, converted_smollm2, held
from lmbench.models.options import refuse, settings
from lmbench.models.weights import check_folder, weight_files

LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Model types whose matrix products are exactly those of a gated decoder, so that the analytic FLOP rule holds."""
_LOGIT_TOLERANCE = 1e-3
_DEFAULTS: Mapping[str, Any] = {"path": "", "max_tokens": None}


class CausalModel(nn.Module):
    """A transformers causal model behind the contract: the cache is flat tensors (key_0, value_0, key_1, ...).

    forward(ids int64 [B, T], positions int64 [K], *state) -> (logits [B, K, V], *state), each state tensor
    [B, kv heads, P, head size]. The causal mask is written out from the lengths so that export keeps them free.
    """

    def __init__(self, causal: nn.Module) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        from transformers import DynamicCache

        causal: Any = self.causal
        dtype = causal.get_input_embeddings().weight.dtype
        past, tokens = state[0].shape[2], ids.shape[1]
        place = torch.arange(past, past + tokens, device=ids.device)
        hidden_keys = torch.arange(past + tokens, device=ids.device)[None, :] > place[:, None]
        mask = torch.zeros(hidden_keys.shape, dtype=dtype, device=ids.device)
        mask = mask.masked_fill(hidden_keys, torch.finfo(dtype).min)[None, None]
        layers = [(state[i].to(dtype), state[i + 1].to(dtype)) for i in range(0, len(state), 2)]
        out = causal.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=place[None],
            past_key_values=DynamicCache(ddp_cache_data=layers),
            use_cache=True,
        )
        logits = causal.get_output_embeddings()(out.last_hidden_state.index_select(1, positions))
        return (logits, *(tensor for layer in out.past_key_values.layers for tensor in (layer.keys, layer.values)))


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """Load options['path']: 'smollm2' (the fetched SmolLM2-135M-Instruct), a local directory with tokenizer.json, or a GGUF file.

    A GGUF file is expanded to fp32 once: that, not the numbers of fewer bits it holds, is what levels are compared with;
    details['stored'] says what it held. 'max_tokens' overrides the context length. `corpus` and `seed` do not matter:
    weights and vocabulary are given. Raises Unavailable when SmolLM2 has not been fetched, FetchError when a GGUF file
    cannot be expanded, SubjectError when the directory is not such a model or its logits are not reproduced by the contract.
    """
    del corpus, seed
    chosen = settings(name, options, _DEFAULTS)
    folder = _folder(name, chosen["path"])
    check_folder(folder)
    causal = _load(folder)
    config = causal.config.get_text_config()
    shapes = _state_shapes(causal)
    module = CausalModel(causal).eval()
    _check(module, causal, shapes, folder)
    facts = ModelFacts(
        name=name,
        family="huggingface",
        parameters=count_parameters(causal),
        vocab_size=int(causal.get_output_embeddings().weight.shape[0]),
        max_tokens=chosen["max_tokens"] or _context(config),
        carries_state=True,
        weights_digest=weights_digest(causal.state_dict()),
        code_digest=f"{code_digest()}-transformers-{version('transformers')}-{digest_bytes(causal.config.to_json_string().encode())}",
        details={
            "model_type": config.model_type,
            "layers": config.num_hidden_layers,
            "hidden": config.hidden_size,
            **_stored(folder),
        },
    )
    rule = decoder_rule(_sizes(config, causal)) if config.model_type in LLAMA_LIKE else None
    return BuiltModel(
        facts=facts,
        form="module",
        module=module,
        tokenizer=from_file(folder / "tokenizer.json"),
        state_shapes=shapes,
        zeros=torch_zeros,
        flop_rule=rule,
    )


def parameters(name: str, options: Mapping[str, Any], corpus: Corpus) -> int | None:
    """Those in the files of options['path'], read off their headers; None where there are no such files."""
    del corpus
    path = settings(name, options, _DEFAULTS)["path"]
    if path.endswith(".gguf") and is_file(Path(path)):
        return held(Path(path))
    folder = _folder(name, path)
    check_folder(folder)
    # Some directories hold the weights once more, under a name that transformers does not read.
    return sum(map(_held, weight_files(folder))) or None


def _held(file: Path) -> int:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        return sum(prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118 - not a mapping


def _folder(name: str, path: str) -> Path:
    if path == "smollm2":
        return converted_smollm2()
    if not path:
        raise refuse(name, "path", "nothing", "'smollm2', a Hugging Face directory or a GGUF file")
    if path.endswith(".gguf"):
        if not is_file(Path(path)):
            raise refuse(name, "path", f"{path!r}, which is not there", "a GGUF file")
        return convert(Path(path), lambda _: None)
    for file in ("config.json", "tokenizer.json"):
        if not is_file(Path(path) / file):
            raise refuse(name, "path", f"{path!r} without {file}", "a Hugging Face directory with config.json and tokenizer.json")
    return Path(path)


def _stored(folder: Path) -> dict[str, object]:
    """What a converted GGUF file held, where that was kept."""
    path = folder / STORED
    return {"stored": read_object(path)} if path.is_file() else {}


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        causal = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (ValueError, KeyError, OSError, ImportError) as fault:
        raise SubjectError(f"{folder} could not be loaded as a causal language model: {fault}") from fault
    if causal.get_output_embeddings() is None or causal.base_model is causal:
        raise SubjectError(f"{folder} is a {type(causal).__name__}; expected a base model with an output head on top of it")
    return causal.eval()


def _state_shapes(causal: Any) -> StateShapes:
    """Shapes of the cache, read off one real forward pass rather than guessed from the configuration."""
    from transformers import DynamicCache

    cache = DynamicCache()
    with torch.no_grad():
        causal(input_ids=torch.zeros(1, 1, dtype=torch.int64), past_key_values=cache, use_cache=True)
    tensors = [getattr(layer, part, None) for layer in cache.layers for part in ("keys", "values")]
    heads: list[tuple[int, int]] = []
    for tensor in tensors:
        if tensor is None or tensor.dim() != 4:
            raise SubjectError(f"{type(causal).__name__} does not keep keys and values [B, heads, P, size] in every layer")
        heads.append((int(tensor.shape[1]), int(tensor.shape[3])))
    if not heads:
        raise SubjectError(f"{type(causal).__name__} filled no key-value cache; expected a decoder with attention")

    def shapes(batch: int, tokens: int) -> Shapes:
        return tuple((batch, count, tokens, size) for count, size in heads)

    return shapes


def _check(module: CausalModel, causal: Any, shapes: StateShapes, folder: Path) -> None:
    """Compare the contract's logits with the model's own: soft-capping or scaling after the head would show here."""
    ids = torch.arange(1, 6)[None] % causal.get_input_embeddings().weight.shape[0]
    state = [torch.zeros(shape) for shape in shapes(1, 0)]
    with torch.no_grad():
        own = causal(input_ids=ids, use_cache=False).logits
        first = module(ids[:, :3], torch.tensor([0, 1, 2]), *state)
        rest = module(ids[:, 3:], torch.tensor([0, 1]), *first[1:])
    difference = float((torch.cat([first[0], rest[0]], 1) - own).abs().max())
    if not difference <= _LOGIT_TOLERANCE * max(1.0, float(own.abs().max())):
        raise SubjectError(
            f"{folder}: {type(causal).__name__} computes its logits in a way that is not supported (largest difference "
            f"{difference:.3g} from head(hidden) with an explicit causal mask); use a model without extra steps after the head"
        )


def _context(config: Any) -> int:
    """Tokens the model can see; within a sliding window, full and windowed attention are the same."""
    window = getattr(config, "sliding_window", None)
    limits = [config.max_position_embeddings, window]
    return min(int(limit) for limit in limits if limit)


def _sizes(config: Any, causal: Any) -> DecoderSizes:
    heads = config.num_attention_heads
    return DecoderSizes(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", heads),
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        mlp=config.intermediate_size,
        mlp_products=3,
        vocab=int(causal.get_output_embeddings().weight.shape[0]),
    )
