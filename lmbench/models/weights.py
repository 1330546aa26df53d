"""What a model's folder may name: its own files, in safetensors; looked at before any of them is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmbench.base.errors import SubjectError, Unreadable
from lmbench.base.json_text import read_object
from lmbench.base.reading import inside

SAFETENSORS, INDEX, WHOLE = ".safetensors", ".safetensors.index.json", "model.safetensors"
ADAPTER = "adapter_config.json"
NAMED_WEIGHTS = "transformers_weights"
"""The key of config.json that names another file of weights."""
READ = (".json", SAFETENSORS, ".txt", ".model", ".jinja")
"""Files that a loader may open by their names alone."""


def check_folder(folder: Path) -> None:
    """Raise SubjectError for a Hugging Face directory that leads anywhere else, or to weights that are no safetensors."""
    if (folder / ADAPTER).exists():
        raise SubjectError(
            f"{folder}: found {ADAPTER}, which names a model elsewhere; expected a whole model; merge the adapter into its base"
        )
    try:
        for entry in sorted(folder.iterdir()):
            if entry.suffix in READ:
                inside(folder, entry.name)
        named = read_object(folder / "config.json").get(NAMED_WEIGHTS)
        chosen = [] if named is None else [_weights_name(named)]
        for name in (*chosen, *(entry.name for entry in sorted(folder.glob(f"*{INDEX}")))):
            for file in _files_of(folder, name):
                inside(folder, file)
    except Unreadable as error:
        raise SubjectError(f"{folder}: {error}") from error


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, each once: the whole file, or those that the index names."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if not (folder / f"model{INDEX}").exists():
        return []
    try:
        return [inside(folder, name) for name in _files_of(folder, f"model{INDEX}")]
    except Unreadable as error:
        raise SubjectError(f"{folder}: {error}") from error


def _weights_name(named: object) -> str:
    if not isinstance(named, str) or not named.endswith((SAFETENSORS, INDEX)):
        raise Unreadable(
            f"{str(named)[:60]!r} as {NAMED_WEIGHTS} of config.json", f"a name that ends in {SAFETENSORS} or {INDEX}"
        )
    return named


def _files_of(folder: Path, name: str) -> Iterator[str]:
    """`name` itself, or the files that an index of that name lists."""
    if not name.endswith(INDEX):
        yield name
        return
    listed = read_object(inside(folder, name)).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise Unreadable(f"{name} without a weight_map", "an object: tensor name to file name")
    for file in dict.fromkeys(map(str, listed.values())):
        if not file.endswith(SAFETENSORS):
            raise Unreadable(f"{file[:60]!r} in {name}", f"files that end in {SAFETENSORS}")
        yield file
