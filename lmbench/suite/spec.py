"""A suite as pydantic sees it: models, axes, cases, gates; the JSON Schema of suite files is made from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, ConfigDict, Field, create_model

from lmbench.base.numbers import MOST_CHARS
from lmbench.suite.params import Number, Params, Seconds, Seed, Threads
from lmbench.suite.schemas import WORKLOAD_PARAMS

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
FORMER = r"^([^\[\]]+::)?[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\[\]]+\])?$"
"""A case's name, with its suite's path before it, or one cell of it in brackets."""
AXES = ("model", "backend", "compression")
DEFAULT_TIMEOUT_S = 900.0

Name = Annotated[str, Field(pattern=NAME)]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="becomes a pytest marker")]


def _one_or_many(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _tolerance(value: Any) -> Any:
    """'5%' or 0.05; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and len(value) <= MOST_CHARS and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


Tags = Annotated[list[Tag], BeforeValidator(_one_or_many)]
Names = Annotated[list[Name], BeforeValidator(_one_or_many), Field(min_length=1)]
Former = Annotated[list[Annotated[str, Field(pattern=FORMER)]], BeforeValidator(_one_or_many)]
Tolerance = Annotated[Number, BeforeValidator(_tolerance), Field(ge=0, lt=10, description="for the worse: 5% or 0.05")]
Gate = dict[str, Tolerance]


class Declared(Params):
    """A named model, backend or compression: the registered kind under the axis' own key, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)


class DeclaredModel(Declared):
    """An entry of `models`."""

    model: str = Field(description="a family (decoder, lstm ...), module:function, a .onnx file or a Hugging Face directory")


class DeclaredBackend(Declared):
    """An entry of `backends`."""

    backend: str = Field(description="a backend (torch, onnxruntime ...)")


class DeclaredCompression(Declared):
    """An entry of `compressions`."""

    compression: str = Field(description="a method (int8-dynamic, prune-magnitude ...)")


class Selector(Params):
    """Cells by any of their coordinates; a coordinate left out matches all."""

    case: Names | None = Field(None, description="cases; empty: all")
    model: Names | None = Field(None, description="models; empty: all")
    backend: Names | None = Field(None, description="backends; empty: all")
    compression: Names | None = Field(None, description="compression levels; empty: all")


class Marked(Selector):
    """Tags for the cells a selector matches."""

    tags: Tags = Field(description="pytest markers for the cells")


class Cell(Params):
    """One cell beyond the product of the axes."""

    model: Name = Field(description="its model")
    backend: Name = Field(description="its backend")
    compression: Name = Field("none", description="its compression level")
    tags: Tags = Field([], description="its pytest markers")


class Matrix(Params):
    """The axes; every combination is a cell, less `exclude`, plus `include`."""

    model: Names | None = Field(None, description="models of the matrix")
    backend: Names | None = Field(None, description="backends of the matrix")
    compression: Names | None = Field(None, description="compression levels of the matrix")
    exclude: list[Selector] = Field([], description="cells to leave out")
    include: list[Cell] = Field([], description="cells to add")
    mark: list[Marked] = Field([], description="tags for some cells, for example nightly or slow")


class CaseCommon(Params):
    """What every case may say, whatever its workload."""

    workload: str = Field(description="what is done to the subject")
    description: str = Field("", description="one sentence: what this case is for")
    matrix: Matrix = Field(Matrix(), description="axes of this case; they replace the suite's, its rules join them")
    tags: Tags = Field([], description="pytest markers of this case")
    gate: Gate = Field({}, description="tolerance per metric, over the suite's")
    threads: Threads | None = Field(
        None, description="compute threads of the engine in this case, over the backend's own: a number, or `cpus-1`"
    )
    timeout_s: Seconds = Field(DEFAULT_TIMEOUT_S, description="seconds after which the case is ended and fails")
    was: Former = Field([], description="former names of this case (`old`, `old.suite.yaml::old`), whose history is its own")


def _case_model(workload: str, params: type[Params]) -> type[CaseCommon]:
    name = f"{params.__name__.removesuffix('Params')}Case"
    tag: Any = Literal[workload]
    # The bases are two pydantic models; create_model's annotation foresees only one class hierarchy.
    bases: Any = (CaseCommon, params)
    model: Any = create_model(name, __base__=bases, __doc__=params.__doc__, workload=(tag, ...))
    return cast("type[CaseCommon]", model)


CASE_MODELS: dict[str, type[CaseCommon]] = {name: _case_model(name, params) for name, params in WORKLOAD_PARAMS.items()}
_AnyCase: Any = None
for _model in CASE_MODELS.values():
    _AnyCase = _model if _AnyCase is None else _AnyCase | _model


class SuiteSpec(Params):
    """A `*.suite.yaml` file, its includes merged in."""

    description: str = Field("", description="one sentence: what this suite is for")
    corpus: str = Field("python-reference", description="python-reference, shakespeare, or a text file or folder")
    seed: Seed = Field(0, description="seed of weights, prompts, batches and schedules")
    models: dict[Name, DeclaredModel] = Field({}, description="models by name: a family and its options")
    backends: dict[Name, DeclaredBackend] = Field({}, description="backends with options, by name; all are usable without")
    compressions: dict[Name, DeclaredCompression] = Field({}, description="compression levels with options, by name")
    matrix: Matrix = Field(Matrix(), description="the axes of every case")
    cases: dict[Name, Annotated[_AnyCase, Field(discriminator="workload")]] = Field(
        min_length=1, description="cases by name: a workload and its parameters"
    )
    gate: Gate = Field({}, description="tolerance per metric, for every case")
    tags: Tags = Field([], description="pytest markers of every case")
