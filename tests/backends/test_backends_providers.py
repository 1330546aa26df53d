"""ONNX Runtime's providers: what is asked of a session on a GPU, by contract, as no GPU is needed to check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from lmbench.backends import onnx_providers, onnx_runtime
from lmbench.backends.onnx_export import prepare
from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.seams import LanguageModel
from lmbench.compress.none import build as none

ALL = list(onnx_providers.PROVIDERS.values())


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_build_without_the_provider_is_a_skip_with_its_remedy(decoder: LanguageModel, provider: str) -> None:
    if onnx_providers.PROVIDERS[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"this build of ONNX Runtime has {provider}")
    with pytest.raises(Unavailable, match="pip install onnxruntime-gpu"):
        onnx_runtime.load(decoder, none({}), {"provider": provider})


def test_a_session_that_falls_back_is_an_error(decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    with pytest.raises(SubjectError, match="expected CUDAExecutionProvider: its libraries could not be loaded"):
        onnx_runtime.load(decoder, none({}), {"provider": "cuda"})


def test_tensorrt_gets_a_range_for_every_input_and_keeps_its_engines(
    decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    path = prepare(decoder, none({})).path
    place = onnx_providers.placement("tensorrt", decoder, path)
    assert [name for name, _ in place.providers] == [ALL[2], ALL[1], ALL[0]]
    options = place.providers[0][1]
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(cache / "onnx-tensorrt")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    ranges = [
        dict(part.split(":") for part in options[f"trt_profile_{which}_shapes"].split(",")) for which in ("min", "opt", "max")
    ]
    assert all(list(one) == names for one in ranges)
    few, usual, many = ([[int(size) for size in one[name].split("x")] for name in names] for one in ranges)
    for shapes in zip(few, usual, many, strict=True):
        assert all(low <= middle <= high for low, middle, high in zip(*shapes, strict=True))
    assert (few[0], many[0]) == ([1, 1], [64, 64])
    assert few[2] == [1, 2, 0, 16], "a prefill starts from an empty past"
    accepted = {
        name: np.zeros(shape, dtype=np.int64 if index < 2 else np.float32)
        for index, (name, shape) in enumerate(zip(names, few, strict=True))
    }
    assert session.run(None, accepted)[0].shape == (1, 1, 61)


def test_the_state_stays_bound_to_the_device(decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound path, with the CPU standing for the device, answers as the plain one; only the logits come to the host."""
    plain = onnx_runtime.load(decoder, none({}), {})
    bound: Any = onnx_runtime.load(decoder, none({}), {})
    monkeypatch.setattr(bound, "_run", lambda values: list(bound._bound(dict(zip(bound._inputs, values, strict=True)))))
    ids = np.arange(6).reshape(1, 6)
    for engine in (plain, bound):
        first, state = engine.forward(ids[:, :4], np.array([3]), engine.empty_state(1))
        second, state = engine.forward(ids[:, 4:], np.array([0, 1]), state)
        if engine is plain:
            expected = first, second, sum(part.nbytes for part in state)
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_array_equal(second, expected[1])
    assert sum(part.nbytes for part in state) == expected[2]
    asked: list[tuple[str, str]] = []
    binding = bound._session.io_binding

    def watched() -> Any:
        one = binding()
        bind = one.bind_output

        def noted(name: str, device: str) -> None:
            asked.append((name, device))
            bind(name, "cpu")

        monkeypatch.setattr(one, "bind_output", noted)
        return one

    monkeypatch.setattr(bound._session, "io_binding", watched)
    bound._place = onnx_providers.Placement(name="cuda", providers=(), device="cuda")
    bound.forward(ids, np.array([0]), bound.empty_state(1))
    assert asked[0] == ("logits", "cpu")
    assert {device for _, device in asked[1:]} == {"cuda"}
