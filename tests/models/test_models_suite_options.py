"""What a suite may write about a model is what the model's builder takes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from lmbench.base.registry import MODELS
from lmbench.suite.schemas import schema

MODEL_OPTIONS = {kind: found for kind, entry in MODELS.items() if (found := schema(entry))}
BUILDERS = sorted(kind for kind in MODEL_OPTIONS if kind != "endpoint")


def defaults(kind: str) -> tuple[Any, Mapping[str, Any]]:
    module = importlib.import_module(MODELS[kind].target.partition(":")[0])
    return module, module.DEFAULTS if kind == "decoder" else module._DEFAULTS


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_option_of_a_suite_is_known_to_the_builder(kind: str) -> None:
    assert set(MODEL_OPTIONS[kind].model_fields) <= set(defaults(kind)[1])


@pytest.mark.parametrize("kind", [kind for kind in BUILDERS if "size" in MODEL_OPTIONS[kind].model_fields])
def test_every_named_size_exists(kind: str) -> None:
    size = get_args(MODEL_OPTIONS[kind].model_fields["size"].annotation)[0]
    assert set(get_args(size)) == set(defaults(kind)[0].SIZES)
