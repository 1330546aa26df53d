"""A case: one cell of a suite's matrix, complete enough to be run by another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lmbench.base import secrets
from lmbench.base.digest import digest

IDENTITY = ("workload", "params", "model", "backend", "compression", "corpus", "seed")
"""The fields that say what is measured; names, tags, gates and time-outs may change without making a new case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of an axis: the name the suite gives it, the registered kind, its options."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cell of a matrix = one pytest item = one record."""

    suite: str
    """Path of the suite file relative to pytest's rootdir, with forward slashes."""
    name: str
    """Name of the case in the suite; the cell's id adds model, backend and compression in brackets."""
    workload: str
    params: Mapping[str, Any]
    """The workload's parameters, defaults filled in (see lmbench.suite.params)."""
    model: Choice
    backend: Choice
    compression: Choice
    corpus: Mapping[str, Any]
    """{'source': name or path} and what else data.corpora understands."""
    seed: int = 0
    tags: tuple[str, ...] = ()
    gate: Mapping[str, float] = field(default_factory=dict)
    """Metric -> largest tolerated relative change for the worse."""
    timeout_s: float = 600.0
    was: tuple[str, ...] = field(default=(), compare=False)
    """Former node ids, as the suite declares them; no part of what is measured and not kept in records."""

    @property
    def id(self) -> str:
        """'first-token[gpt-mini-onnxruntime-int8-dynamic]'."""
        return f"{self.name}[{self.model.name}-{self.backend.name}-{self.compression.name}]"

    @property
    def node_id(self) -> str:
        """The pytest node id, which is the key of a case in the store."""
        return f"{self.suite}::{self.id}"

    @property
    def secret_variables(self) -> tuple[str, ...]:
        """The environment variables that the model's options name as secret."""
        key, others = self.model.options.get("api_key_env"), self.model.options.get("secret_env")
        return tuple(str(name) for name in (key, *(others if isinstance(others, list) else ())) if name)

    def declare_secrets(self) -> None:
        """Have their values masked in whatever this process writes from now on."""
        secrets.declare(*self.secret_variables)

    @property
    def digest(self) -> str:
        """Digest of what is measured (see IDENTITY); names of axis values do not count."""
        return digest(self.identity())

    def identity(self) -> dict[str, Any]:
        """The declared content behind `digest`, for saying what changed between two cases of one name."""
        content = {key: value for key, value in self.to_json().items() if key in IDENTITY}
        for axis in ("model", "backend", "compression"):
            content[axis] = {"kind": content[axis]["kind"], "options": content[axis]["options"]}
        return content

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal case back."""
        return {key: value for key, value in asdict(self).items() if key != "was"} | {"tags": list(self.tags)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Case:
        """The inverse of `to_json`."""
        axes = {axis: Choice(**data[axis]) for axis in ("model", "backend", "compression")}
        return cls(**{**data, **axes, "tags": tuple(data["tags"])})
