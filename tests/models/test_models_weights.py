"""What a model's folder may name: its own files in safetensors; everything else is refused before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import SubjectError
from lmbench.models.weights import check_folder, weight_files

INDEX = "model.safetensors.index.json"


def folder_with(tmp_path: Path, index: Any = None, config: Any = None) -> Path:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or {}))
    (folder / "a.safetensors").write_bytes(b"")
    if index is not None:
        (folder / INDEX).write_text(index if isinstance(index, str) else json.dumps({"weight_map": index}))
    return folder


def test_an_index_of_the_folders_own_files_is_taken(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"x": "a.safetensors", "y": "a.safetensors"})
    check_folder(folder)
    assert weight_files(folder) == [folder / "a.safetensors"]


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"x": "../out.bin"}, "files that end in .safetensors"),
        ({"x": "a.bin"}, "files that end in .safetensors"),
        ({"x": "../out.safetensors"}, "the name of a file in"),
        ({"x": "/out.safetensors"}, "the name of a file in"),
        ({"x": "link.safetensors"}, "a link to"),
        ({"x": "absent.safetensors"}, "which is not there"),
        ({"x": 3}, "files that end in"),
        ({}, "without a weight_map"),
        ("[]", "expected a JSON object"),
        ("[" * 5000, "within each other"),
        ("{", "what is not JSON"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, index: Any, words: str) -> None:
    for name in ("out.bin", "out.safetensors"):
        (tmp_path / name).write_bytes(b"")
    folder = folder_with(tmp_path, index)
    if words == "a link to":
        (folder / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    with pytest.raises(SubjectError, match=words):
        check_folder(folder)


def test_other_pointers_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(SubjectError, match="the name of a file in"):
        check_folder(folder_with(tmp_path, config={"transformers_weights": "../out.safetensors"}))
    with pytest.raises(SubjectError, match="a name that ends in"):
        check_folder(folder_with(tmp_path, config={"transformers_weights": "weights.bin"}))
    folder = folder_with(tmp_path)
    (folder / "tokenizer.json").symlink_to(tmp_path / "out.json")
    with pytest.raises(SubjectError, match="a link to"):
        check_folder(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(SubjectError, match="merge the adapter"):
        check_folder(folder)


def test_the_links_of_a_cache_of_hugging_face_are_its_own(tmp_path: Path) -> None:
    blobs = tmp_path / "models--x" / "blobs"
    folder = tmp_path / "models--x" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    folder.mkdir(parents=True)
    for name, content in {"config.json": "{}", "model.safetensors": ""}.items():
        (blobs / name[:3]).write_text(content)
        (folder / name).symlink_to(f"../../blobs/{name[:3]}")
    check_folder(folder)
    assert weight_files(folder) == [folder / "model.safetensors"]
