"""Shapes of published models through our decoder, on the meta device: their parameter counts and operations, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmbench.data.corpora import Corpus
from lmbench.models.built import count_parameters
from lmbench.models.decoder import Decoder, Shape, build, flop_sizes
from lmbench.models.flops import decoder_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A model as its authors describe it, and the parameters of its released weights."""

    shape: dict[str, Any]
    parameters: int
    source: str = field(repr=False)


LLAMA = {"activation": "swiglu", "norm": "rms", "positions": "rotary", "bias": False}
GPT2 = {"activation": "gelu", "norm": "layer", "positions": "learned", "bias": True, "rotary_base": 1e4, "tied": True}
MODELS = {
    "GPT-2": Published(
        shape={**GPT2, "layers": 12, "hidden": 768, "heads": 12, "kv_heads": 12, "head_size": 64, "mlp": 3072, "vocab": 50257}
        | {"max_tokens": 1024},
        parameters=124_439_808,
        source="Radford et al. 2019; https://huggingface.co/openai-community/gpt2",
    ),
    "Llama-2-7B": Published(
        shape={**LLAMA, "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 32, "head_size": 128, "mlp": 11008, "vocab": 32000}
        | {"rotary_base": 1e4, "tied": False, "max_tokens": 4096},
        parameters=6_738_415_616,
        source="Touvron et al. 2023, arXiv:2307.09288; https://huggingface.co/meta-llama/Llama-2-7b-hf",
    ),
    "SmolLM2-135M": Published(
        shape={**LLAMA, "layers": 30, "hidden": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "mlp": 1536, "vocab": 49152}
        | {"rotary_base": 1e5, "tied": True, "max_tokens": 8192},
        parameters=134_515_008,
        source="Ben Allal et al. 2025, arXiv:2502.02737; https://huggingface.co/HuggingFaceTB/SmolLM2-135M",
    ),
}


def on_meta(name: str) -> Decoder:
    with torch.device("meta"):
        return Decoder(Shape(**MODELS[name].shape))


@pytest.mark.parametrize("name", MODELS)
def test_the_parameter_count_is_the_published_one(name: str) -> None:
    assert count_parameters(on_meta(name)) == MODELS[name].parameters


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_torch_counts(name: str) -> None:
    module = on_meta(name)
    shape = module.shape
    with torch.device("meta"), torch.no_grad():
        past = tuple(torch.zeros(part) for part in module.state_shapes(2, 5))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            logits = module(torch.zeros(2, 7, dtype=torch.int64), torch.arange(3), *past)[0]
    assert logits.shape == (2, 3, shape.vocab)
    assert counter.get_total_flops() == decoder_rule(flop_sizes(shape))(batch=2, tokens=7, past=5, kept=3)


def test_biases_start_at_zero_and_belong_to_attention_and_mlp(corpus: Corpus) -> None:
    plain, biased = (build("m", {"size": "nano", "bias": bias}, corpus, 0) for bias in (False, True))
    added = {name: part for name, part in biased.module.state_dict().items() if name not in plain.module.state_dict()}
    assert {".".join(name.split(".")[2:]) for name in added} == {
        *(f"attention.{name}.bias" for name in ("query", "key", "value", "output")),
        *(f"mlp.{name}.bias" for name in ("gate", "up", "down")),
    }
    assert not any(part.any() for part in added.values())
    assert biased.flops(batch=2, tokens=3) == plain.flops(batch=2, tokens=3)
