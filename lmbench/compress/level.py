"""The noun of this room: one compression level, put together from changes of models and changes of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lmbench.base.entry import PORTABLE
from lmbench.base.seams import Bound, LanguageModel

ModelChange = Callable[[LanguageModel], LanguageModel]
"""fp32 model -> another model; the parent stays as it was."""
FileChange = Callable[[LanguageModel, Path, Path], Path]
"""(model, the engine's fp32 file of it, folder) -> a new file in that folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A `Compression` with one change per form of weights, in `models` or in `files`; for any other form that of PORTABLE."""

    name: str
    lineage: Mapping[str, object]
    bound: Bound
    models: Mapping[str, ModelChange] = field(default_factory=dict)
    files: Mapping[str, FileChange] = field(default_factory=dict)
    precision: str = "fp32"
    sparse: bool = False
    made: dict[ModelChange, tuple[LanguageModel, LanguageModel]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """The last model of each change, and what it became: an engine is loaded with it and then compared with it."""

    def on_model(self, model: LanguageModel, weights: str) -> LanguageModel:
        """As `Compression.on_model`: left alone where this level changes the file."""
        change = None if weights in self.files else self.models.get(weights) or self.models.get(PORTABLE)
        if change is None:
            return model
        if change not in self.made or self.made[change][0] is not model:
            self.made[change] = (model, change(model))
        return self.made[change][1]

    def on_file(self, model: LanguageModel, path: Path, folder: Path, weights: str) -> Path:
        """As `Compression.on_file`."""
        change = self.files.get(weights)
        return path if change is None else change(model, path, folder)
