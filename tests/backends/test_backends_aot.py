"""AOTInductor: one package answers prefills, decode steps and full passes of any size, at levels that change the module."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmbench.backends import aot_inductor
from lmbench.base.errors import ConfigError, SubjectError, Unavailable
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel
from lmbench.compress.none import build as none
from lmbench.compress.precision import build_bf16

ROWS_AND_PIECES = [(1, (1,)), (1, (2, 1, 1)), (3, (5, 1, 1, 4, 1)), (2, (1, 1, 1, 1)), (2, (2, 2)), (1, (40, 23, 1))]
"""Batch sizes, and the lengths of the pieces a text is given in; the state goes from one to the next."""


def loaded(model: LanguageModel, level: Compression) -> Engine:
    return aot_inductor.load(level.on_model(model, aot_inductor.WEIGHTS), level, {"threads": 1})


@pytest.fixture(scope="module")
def engine(decoder: LanguageModel) -> Iterator[Engine]:
    """The decoder in a package; compiled once."""
    built = loaded(decoder, none({}))
    yield built
    built.close()


def some_ids(batch: int, tokens: int) -> IntArray:
    return np.random.default_rng(tokens).integers(0, 61, size=(batch, tokens))


def plain(model: LanguageModel, ids: IntArray) -> FloatArray:
    """The module's own logits [B, T, V]."""
    with torch.no_grad():
        answer = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(len(ids)))
    logits: FloatArray = answer[0].numpy()
    return logits


def check(engine: Engine, model: LanguageModel, batch: int, pieces: tuple[int, ...], atol: float) -> None:
    """A full pass and the same text in pieces give the module's logits, to within `atol`."""
    ids = some_ids(batch, sum(pieces))
    expected = plain(model, ids)
    full, _ = engine.forward(ids, np.arange(ids.shape[1]), engine.empty_state(batch))
    assert full.dtype == np.float32
    assert np.abs(full - expected).max() <= atol
    state, start = engine.empty_state(batch), 0
    for length in pieces:
        kept = np.array([length - 1, 0])[: min(length, 2)]
        logits, state = engine.forward(ids[:, start : start + length], kept, state)
        assert logits.shape == (batch, len(kept), 61)
        assert np.abs(logits - expected[:, start + kept]).max() <= atol
        start += length
    assert all(part.is_contiguous() for part in state)


@pytest.mark.parametrize(("batch", "pieces"), ROWS_AND_PIECES)
def test_one_package_answers_all_sizes_from_an_empty_past_on(
    engine: Engine, decoder: LanguageModel, batch: int, pieces: tuple[int, ...]
) -> None:
    check(engine, decoder, batch, pieces, 1e-4)


def test_the_layout_of_ids_does_not_matter(engine: Engine, decoder: LanguageModel) -> None:
    ids = some_ids(3, 8)
    for odd in (np.asfortranarray(ids), np.concatenate([ids, ids], axis=1)[:, ::2], ids[::-1]):
        logits, _ = engine.forward(odd, np.arange(8)[::-1], engine.empty_state(3))
        assert np.abs(logits - plain(decoder, odd.copy())[:, ::-1]).max() <= 1e-4


def test_facts_are_those_of_the_module_and_the_file(engine: Engine, decoder: LanguageModel, cache: Path) -> None:
    facts = engine.describe()
    (package,) = cache.glob("aoti/*/model.pt2")
    assert facts["weight_bytes"] == 4 * decoder.facts.parameters
    assert facts["disk_bytes"] == package.stat().st_size > 4 * decoder.facts.parameters
    assert (facts["dtype"], facts["state_dtype"], facts["threads"]) == ("float32", "float32", 1)
    assert "zero_share" not in facts
    assert {path.name for path in package.parent.iterdir()} == {"model.pt2", "facts.json", "key.json"}


def test_a_package_is_compiled_once_for_a_number_of_threads(
    engine: Engine, decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops are cut for the threads they are compiled for, so that others are another package."""
    del engine
    compiled: list[int] = []

    def refuse(_: LanguageModel, path: Path, threads: int) -> dict[str, object]:
        compiled.append(threads)
        path.write_bytes(b"")
        return {"weight_bytes": 0, "dtype": "float32"}

    monkeypatch.setattr(aot_inductor, "_compile", refuse)
    assert not aot_inductor.export(decoder, none({}), {"threads": 1}).built
    assert aot_inductor.export(decoder, none({}), {"threads": 3}).built
    changed = build_bf16({}).on_model(decoder, aot_inductor.WEIGHTS)
    assert aot_inductor.export(changed, build_bf16({}), {"threads": 1}).built
    assert compiled == [3, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "pieces"), ROWS_AND_PIECES)
def test_recurrent_cells_run_any_number_of_tokens(recurrent: LanguageModel, batch: int, pieces: tuple[int, ...]) -> None:
    """Their state comes out transposed, a layout that a package reads wrongly."""
    built = loaded(recurrent, none({}))
    check(built, recurrent, batch, pieces, 1e-4)
    built.close()


@pytest.mark.slow
def test_bf16_halves_weights_and_state(decoder: LanguageModel) -> None:
    level = build_bf16({})
    small = dataclasses.replace(decoder, facts=dataclasses.replace(decoder.facts, weights_digest="in bf16"))  # type: ignore[type-var]
    built = loaded(small, level)
    check(built, decoder, 2, (5, 1, 1), 0.3)
    assert built.describe()["weight_bytes"] == 2 * decoder.facts.parameters
    _, state = built.forward(some_ids(1, 3), np.array([2]), built.empty_state(1))
    assert {part.dtype for part in state} == {torch.bfloat16}
    built.close()


def test_threads_are_set_and_given_back(engine: Engine) -> None:
    """The engine of this file is open, with one thread."""
    assert engine.describe()["threads"] == torch.get_num_threads() == 1


def test_a_module_torch_cannot_export_is_a_subject_error(decoder: Any, tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        """Goes one way or the other by a value, which a graph cannot."""

        def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor]:
            shift = 1.0 if int(ids.sum()) > 7 else 2.0
            return ((ids[:, :, None] + shift).expand(-1, -1, 61).index_select(1, positions),)

    model = dataclasses.replace(decoder, module=Branching().eval(), state=lambda _: ())
    with pytest.raises(SubjectError, match="cannot compile Branching"):
        aot_inductor._compile(model, tmp_path / "model.pt2", 1)


def test_a_missing_compiler_comes_with_its_remedy(decoder: Any, tmp_path: Path) -> None:
    from torch._inductor import config

    # A plain attribute would leave the setting missing afterwards.
    with config.patch({"cpp.cxx": (str(tmp_path / "no-such-compiler"),)}), pytest.raises(Unavailable, match="install g"):
        aot_inductor._compile(decoder, tmp_path / "model.pt2", 1)


@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"threads": True}])
def test_wrong_options_are_faults_of_configuration(decoder: LanguageModel, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="thread"):
        aot_inductor.load(decoder, none({}), options)
