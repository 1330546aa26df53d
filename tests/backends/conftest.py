"""Two small models by the contract, independent of the package's own: a decoder with a cache and a recurrent one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmbench.base.seams import ModelFacts, State

VOCAB, WIDTH, HEADS, LAYERS, MAX_TOKENS = 61, 32, 2, 2, 64


class Block(nn.Module):
    """Attention over cached and new tokens, then a two-layer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor, past_key: Tensor, past_value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, _ = x.shape
        mixed = self.mix(self.norms[0](x)).view(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        key, value = torch.cat([past_key, mixed[1]], 2), torch.cat([past_value, mixed[2]], 2)
        seen = torch.arange(key.shape[2])[None, :] <= torch.arange(tokens)[:, None] + past_key.shape[2]
        attended = nn.functional.scaled_dot_product_attention(mixed[0], key, value, attn_mask=seen)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.mlp(self.norms[1](x)), key, value


class TinyDecoder(nn.Module):
    """Learned positions, tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.places = nn.Parameter(torch.randn(MAX_TOKENS, WIDTH) * 0.1)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        past = state[0].shape[2]
        place = torch.arange(past, past + ids.shape[1])
        x = self.tokens(ids) + self.places.index_select(0, place)
        after: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x, key, value = block(x, state[2 * index], state[2 * index + 1])
            after += [key, value]
        return (self.head(x.index_select(1, positions)), *after)


class TinyRecurrent(nn.Module):
    """Embedding, two GRU layers, head; the state is [B, layers, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.cells = nn.GRU(WIDTH, WIDTH, num_layers=LAYERS, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        x, after = self.cells(self.tokens(ids), state[0].transpose(0, 1).contiguous())
        return self.head(x.index_select(1, positions)), after.transpose(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyModel:
    """A LanguageModel around one of the modules above, or around a file."""

    facts: ModelFacts
    module: Any
    state: Callable[[int], State]
    form: str = "module"
    tokenizer: Any = field(default=None)

    def empty_state(self, batch: int) -> State:
        return self.state(batch)

    def flops(self, *, batch: int, tokens: int, past: int = 0) -> int | None:
        del batch, tokens, past
        return None

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        return batch * tokens * element_bytes


def tiny(module: nn.Module, name: str, state: Callable[[int], State]) -> TinyModel:
    """A model around `module`."""
    facts = ModelFacts(
        name=name,
        family=name,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        vocab_size=VOCAB,
        max_tokens=MAX_TOKENS,
        carries_state=True,
        weights_digest=name,
        code_digest="tests",
    )
    return TinyModel(facts=facts, module=module.eval(), state=state)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of this session, so that exports are shared between its tests and with nobody else."""
    patch = pytest.MonkeyPatch()
    folder: Path = tmp_path_factory.mktemp("cache")
    patch.setenv("LMBENCH_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="session")
def decoder() -> TinyModel:
    torch.manual_seed(0)
    shape = (HEADS, 0, WIDTH // HEADS)
    return tiny(TinyDecoder(), "tiny-decoder", lambda batch: tuple(torch.zeros(batch, *shape) for _ in range(2 * LAYERS)))


@pytest.fixture(scope="session")
def recurrent() -> TinyModel:
    torch.manual_seed(1)
    return tiny(TinyRecurrent(), "tiny-recurrent", lambda batch: (torch.zeros(batch, LAYERS, WIDTH),))


@pytest.fixture(params=["decoder", "recurrent"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    """Each of the two in turn."""
    found: TinyModel = request.getfixturevalue(request.param)
    return found
