"""The noun of this room: one compression level, which changes a module, an exported graph, or neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base.seams import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A `Compression` put together from functions; a function that is not given changes nothing."""

    name: str
    lineage: Mapping[str, object]
    bound: Bound
    change_module: Callable[[Any], Any] | None = None
    """fp32 module -> a new module."""
    change_graph: Callable[[Path, Path], Path] | None = None
    """(ONNX file, folder) -> a new file in that folder."""

    def on_module(self, module: Any, form: str) -> Any:
        """The module for an engine that takes its weights in `form`.

        An engine of form 'onnx' gets the module as it was when this level has its own way with graphs.
        """
        if self.change_module is None or (form == "onnx" and self.change_graph is not None):
            return module
        return self.change_module(module)

    def on_graph(self, path: Path, folder: Path) -> Path:
        """The ONNX file of this level, in `folder`; `path` itself when the level leaves graphs alone."""
        return path if self.change_graph is None else self.change_graph(path, folder)
