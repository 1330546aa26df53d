"""The encoder: torch's own layers on the same weights, both kinds of positions, the hidden token, training, export."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import batches
from lmbench.models.built import BuiltModel
from lmbench.models.encoder import build, sinusoids
from lmbench.models.training import next_token_loss
from tests.models import contract, masked

NANO = {"size": "nano", "max_tokens": 32}


@pytest.fixture(scope="module", params=["learned", "sinusoidal"])
def model(request: pytest.FixtureRequest, corpus: Corpus) -> BuiltModel:
    return build("m", {**NANO, "positions": request.param}, corpus, 0)


def test_it_keeps_the_contract_without_a_state(model: BuiltModel) -> None:
    masked.check_without_state(model)
    contract.check_positions(model)
    masked.check_flops(model)


def test_every_token_reaches_every_prediction(model: BuiltModel) -> None:
    ids = contract.some_ids(model, 1, 6)
    other = ids.clone()
    other[0, 4] = (other[0, 4] + 1) % 256
    changed = (masked.logits(model, ids) - masked.logits(model, other)).abs().amax(dim=-1)[0]
    assert (changed > 1e-5).all()


def test_the_mask_hides_and_is_never_predicted(model: BuiltModel) -> None:
    assert model.facts.mask_id == model.facts.vocab_size == 256
    ids = contract.some_ids(model, 1, 6)
    ids[0, 2] = model.facts.mask_id
    assert masked.logits(model, ids).shape == (1, 6, 256)
    assert model.module.embedding.num_embeddings == 257


def by_torch(model: BuiltModel, ids: Tensor) -> Tensor:
    """The model out of torch.nn.TransformerEncoderLayer."""
    weights, shape = model.module.state_dict(), model.module.shape
    x = model.module.embedding(ids)
    if shape.positions == "learned":
        x = x + weights["places.weight"][: ids.shape[1]]
    else:
        table = [[wave(place, pair, shape.hidden) for pair in range(shape.hidden)] for place in range(ids.shape[1])]
        x = x * math.sqrt(shape.hidden) + torch.tensor(table)
    for number in range(shape.layers):
        layer = nn.TransformerEncoderLayer(
            shape.hidden, shape.heads, shape.mlp, dropout=0, activation="gelu", batch_first=True, norm_first=True
        )
        block = {name.removeprefix(f"blocks.{number}."): value for name, value in weights.items() if f"blocks.{number}." in name}
        ours = {f"self_attn.in_proj_{kind}": joined(block, kind) for kind in ("weight", "bias")}
        names = {"attention.output": "self_attn.out_proj", "up": "linear1", "down": "linear2"}
        names |= {"attention_norm": "norm1", "mlp_norm": "norm2"}
        ours |= {f"{new}.{kind}": block[f"{old}.{kind}"] for old, new in names.items() for kind in ("weight", "bias")}
        layer.load_state_dict(ours)
        x = layer(x)
    return model.module.head(model.module.norm(x))  # type: ignore[no-any-return]


def joined(block: dict[str, Tensor], kind: str) -> Tensor:
    return torch.cat([block[f"attention.{part}.{kind}"] for part in ("query", "key", "value")])


def wave(place: int, column: int, hidden: int) -> float:
    """PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos(the same), as the paper writes it."""
    angle = place / 10000 ** (2 * (column // 2) / hidden)
    return math.cos(angle) if column % 2 else math.sin(angle)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_logits_are_those_of_torch_s_encoder_layers(positions: str, corpus: Corpus) -> None:
    model = build("m", {**NANO, "positions": positions}, corpus, 0)
    ids = contract.some_ids(model, 2, 9)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if name.endswith("bias"):  # they begin as zeros, which would hide a mistake
                parameter.add_(torch.linspace(-0.1, 0.1, parameter.numel()))
        expected = by_torch(model, ids)
    torch.testing.assert_close(masked.logits(model, ids), expected, atol=1e-5, rtol=1e-4)


def test_a_sinusoid_shifts_by_a_rotation() -> None:
    """The encoding of a place k further on is a linear map of the encoding, the same everywhere (section 3.5)."""
    table = sinusoids(torch.arange(40), 8).double()
    shift = torch.linalg.lstsq(table[:20], table[7:27]).solution
    torch.testing.assert_close(table[10:30] @ shift, table[17:37], atol=1e-4, rtol=0)


def test_parameters_are_counted_by_hand(corpus: Corpus) -> None:
    block = 4 * (32 * 32 + 32) + 2 * 2 * 32 + (32 * 128 + 128) + (128 * 32 + 32)
    body = 257 * 32 + 2 * block + 2 * 32 + 32 * 256 + 256
    assert build("m", {**NANO, "positions": "sinusoidal"}, corpus, 0).facts.parameters == body
    assert build("m", NANO, corpus, 0).facts.parameters == body + 32 * 32


def test_pre_training_lowers_the_loss_on_hidden_tokens(corpus: Corpus) -> None:
    losses = []
    for steps in (0, 60):
        model = build("m", {**NANO, "max_tokens": 64, "train_steps": steps}, corpus, 0)
        ids = np.array(model.tokenizer.encode(corpus.valid_text))
        inputs, targets = next(batches(ids, batch=16, tokens=64, seed=0, objective="masked", mask_id=model.facts.mask_id))
        with torch.no_grad():
            losses.append(next_token_loss(model.module, torch.from_numpy(inputs), torch.from_numpy(targets)).item())
    assert losses[0] == pytest.approx(np.log(256), abs=0.3)
    assert losses[1] < losses[0] - 1.5


@pytest.mark.parametrize(("level", "atol"), [("none", 1e-5), ("bf16", 0.05)])
def test_torch_gives_its_logits_back_at_any_size(model: BuiltModel, level: str, atol: float) -> None:
    masked.check_engine(model, "torch", level, atol=atol)


def test_the_export_keeps_sizes_free(model: BuiltModel) -> None:
    masked.check_engine(model, "onnxruntime", atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": 3}, r"a multiple of 3 \(heads\)"),
        ({"positions": "rotary"}, "one of learned, sinusoidal"),
        ({"hidden": 9, "heads": 3, "positions": "sinusoidal"}, "an even number"),
        ({"kv_heads": 2}, "unknown option 'kv_heads'"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=words):
        build("m", {**NANO, **options}, corpus, 0)
