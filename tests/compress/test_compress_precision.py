"""Floating-point levels: what is stored and what is computed in fewer bits, and what is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Compression, ModelFacts
from lmbench.compress import precision

BUILDERS = (precision.build_bf16, precision.build_fp16, precision.build_bf16_autocast, precision.build_fp8_weight_only)
FACTS = ModelFacts(
    name="m", family="tests", parameters=1, vocab_size=48, max_tokens=8, carries_state=True, weights_digest="w", code_digest="c"
)


@dataclass(frozen=True)
class Around:
    """A module as the parent that levels get."""

    module: Any
    form: str = "module"
    facts: ModelFacts = FACTS


class Tied(nn.Module):
    """By the contract: a running mean as state [B, 64], angles of positions in fp32, a head that shares the embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(48, 64)
        self.between = nn.Linear(64, 64)
        self.head = nn.Linear(64, 48, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        x = self.tokens(ids)
        angles = torch.sin(torch.arange(ids.shape[1], dtype=torch.float32)[:, None] + 4096).to(x.dtype)
        x = self.between(x + angles) + state[0].to(x.dtype)[:, None]
        return self.head(x.index_select(1, positions)), x.mean(1)


def parts() -> tuple[Tensor, Tensor, Tensor]:
    return torch.arange(12).reshape(2, 6), torch.arange(6), torch.ones(2, 64)


def changed_by(level: Compression, module: Any, weights: str = MODULE) -> Any:
    parent: Any = Around(module)
    return level.on_model(parent, weights).module


@pytest.mark.parametrize("build", BUILDERS)
def test_the_parent_stays_as_it_was_and_answers_nearly_the_same(build: Callable[..., Compression]) -> None:
    module: Any = Tied().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    changed = changed_by(build({}), module)
    with torch.inference_mode():
        plain, answer = module(*parts())[0], changed(*parts())[0]
    assert 0 < float((answer - plain).abs().max()) < 0.05 * float(plain.abs().max())
    assert not changed.training
    assert module.head.weight is module.tokens.weight
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == torch.float32


@pytest.mark.parametrize(
    ("build", "dtype"), [(precision.build_bf16, torch.bfloat16), (precision.build_fp16, torch.float16)], ids=["bf16", "fp16"]
)
@pytest.mark.parametrize("weights", [MODULE, "aoti"])
def test_casts_reach_every_parameter_and_keep_ties(build: Callable[..., Compression], dtype: torch.dtype, weights: str) -> None:
    changed = changed_by(build({}), Tied().eval(), weights)
    assert {parameter.dtype for parameter in changed.parameters()} == {dtype}
    assert changed.head.weight is changed.tokens.weight
    with torch.inference_mode():
        assert {part.dtype for part in changed(*parts())} == {dtype}


def test_fp16_in_files_is_fed_with_fp32_and_equals_fp16_inside() -> None:
    module: Any = Tied().eval()
    level = precision.build_fp16({})
    plain, filed = changed_by(level, module), changed_by(level, module, "onnx")
    assert {parameter.dtype for parameter in filed.parameters()} == {torch.float16}
    ids, positions, state = parts()
    with torch.inference_mode():
        answers = filed(ids, positions, state)
        assert [part.dtype for part in answers] == [torch.float32] * 2
        for answer, expected in zip(answers, plain(ids, positions, state.half()), strict=True):
            assert torch.equal(answer, expected.float())


def test_autocast_multiplies_in_bf16_with_fp32_weights() -> None:
    module: Any = Tied().eval()
    changed = changed_by(precision.build_bf16_autocast({}), module)
    assert {parameter.dtype for parameter in changed.parameters()} == {torch.float32}
    seen: list[torch.dtype] = []
    hook = module.between.register_forward_hook(lambda *parts: seen.append(parts[2].dtype))
    with torch.inference_mode():
        changed(*parts())
        assert seen == [torch.bfloat16]
        module(*parts())
    assert seen == [torch.bfloat16, torch.float32]
    hook.remove()


def test_fp8_weights_are_a_quarter_and_within_half_a_step() -> None:
    module: Any = Tied().eval()
    changed = changed_by(precision.build_fp8_weight_only({}), module)
    weight = changed.between.weight
    assert weight.qdata.dtype == torch.float8_e4m3fn
    # Three bits of mantissa: half a step is a sixteenth of the value, below the smallest normal number a fixed amount.
    step = module.between.weight.abs() / 16 + module.between.weight.abs().amax(dim=1, keepdim=True) / 448 / 1024
    assert bool(((weight.dequantize() - module.between.weight).abs() <= 1.01 * step).all())
    assert changed.head.weight is not changed.tokens.weight
    assert changed.tokens.weight.dtype == torch.float32


def test_a_module_without_linear_layers_has_no_fp8() -> None:
    with pytest.raises(SubjectError, match="none of which"):
        changed_by(precision.build_fp8_weight_only({}), nn.Embedding(4, 4))


@pytest.mark.parametrize("build", BUILDERS)
def test_levels_of_precision_take_no_options(build: Callable[..., Compression]) -> None:
    with pytest.raises(ConfigError, match="dtype"):
        build({"dtype": "bf16"})
    level = build({})
    assert level.name == level.lineage["method"]
    assert level.precision == {"fp16": "fp16", "fp8-weight-only": "fp32"}.get(level.name, "bf16")
