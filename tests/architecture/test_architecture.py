"""The house rules that no linter checks: sizes, names, what may be imported at collection, one clock."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lmbench"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "transformers",
    "torchao",
    "tokenizers",
    "safetensors",
    "gguf",
    "tensorrt",
    "openvino",
    "nncf",
    "llama_cpp",
    "executorch",
    "litert_torch",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "tensorflow",
    "pynvml",
}
HEAVY_ROOMS = ("models", "compress", "backends", "measure/probes")
BASE = {
    "__init__",
    "cache",
    "catalogue",
    "control_groups",
    "digest",
    "entry",
    "environments",
    "errors",
    "files",
    "git",
    "json_text",
    "kernel_file",
    "losses",
    "numbers",
    "printing",
    "reading",
    "registry",
    "scratch",
    "seams",
    "secrets",
    "spellings",
    "signals",
    "threads",
    "typed",
    "units",
    "yaml_text",
}
MAX_LINES = 300
MAX_FUNCTION_LINES = 40


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_files_stay_short() -> None:
    assert {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > MAX_LINES} == {}


def test_functions_stay_short() -> None:
    long = {}
    for path in FILES:
        for node in functions(path):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = (node.end_lineno or node.lineno) - node.lineno - docstring.count("\n")
            if length > MAX_FUNCTION_LINES:
                long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert long == {}


NO_TEXT = {"wb", "rb", "ab", "xb", "w+b", "r+b"}
TEXT_FILES = {"read_text", "write_text", "fdopen", "NamedTemporaryFile", "TemporaryFile"}
NOT_FILES = {"os", "self", "docket", "journal", "wheel", "tarfile", "build_opener", "one"}
"""What else has a method of such a name: descriptors, queues, archives, texts of an installed distribution."""


def without_encoding(node: ast.Call) -> bool:
    """A text file or a subprocess's text that would be read as the locale has it."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = {keyword.arg for keyword in node.keywords}
    words = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
    owners = {leaf.attr if isinstance(leaf, ast.Attribute) else getattr(leaf, "id", "") for leaf in ast.walk(node.func)}
    if "encoding" in given:
        return False
    if given & {"text", "universal_newlines"} and name in {"run", "Popen", "check_output"}:
        return True
    method = isinstance(node.func, ast.Attribute)
    opened = name == "open" or (method and name in TEXT_FILES and (name != "TemporaryFile" or bool(words & {"w", "w+", "r"})))
    return opened and not words & NO_TEXT and not owners & NOT_FILES


def test_text_is_utf_8_whatever_the_locale() -> None:
    strays = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and without_encoding(node):
                strays.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert strays == []


def test_base_is_a_closed_list() -> None:
    assert {path.stem for path in (PACKAGE / "base").glob("*.py")} == BASE


def test_git_and_temporary_folders_each_have_one_place() -> None:
    """A git command elsewhere would see a hook's variables; a folder made elsewhere would stay when its maker is killed."""
    places: dict[str, set[str]] = {"git": set(), "temporary folders": set()}
    for path in FILES:
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.List)
                and node.elts
                and isinstance(node.elts[0], ast.Constant)
                and node.elts[0].value == "git"
            ):
                places["git"].add(path.relative_to(PACKAGE).as_posix())
            if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).endswith(("mkdtemp", "TemporaryDirectory")):
                places["temporary folders"].add(path.relative_to(PACKAGE).as_posix())
    # A half-built cache entry lies beside its place, to be renamed, under a lock of its own.
    assert places == {"git": {"base/git.py"}, "temporary folders": {"base/cache.py", "base/scratch.py"}}


def test_how_many_cpus_there_are_is_asked_in_one_place() -> None:
    """An engine that counted CPUs itself would miss the quota and the user's setting."""
    asking = ("sched_getaffinity", "cpu_count", "process_cpu_count")
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in asking
    }
    # The machine's own facts; and the CPUs, by number, that both sides of a pair take turns on.
    assert found == {"base/threads.py", "measure/machine.py", "paired/pair.py", "record/environment.py"}


def test_every_module_says_what_it_does() -> None:
    assert [str(path) for path in FILES if not ast.get_docstring(tree(path))] == []


def test_nothing_looks_like_a_test_to_pytest() -> None:
    for path in FILES:
        assert not path.name.startswith("test_"), path
        classes = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
        assert [name for name in classes if name.startswith("Test")] == [], path


def test_no_catch_all_modules() -> None:
    assert [path for path in FILES if path.stem in {"utils", "helpers", "common", "misc"}] == []


def test_heavy_libraries_stay_in_their_rooms() -> None:
    strays = {}
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        allowed = place.startswith(HEAVY_ROOMS) or place == "data/tokenizers.py"
        if not allowed and (found := imported(path) & HEAVY):
            strays[place] = found
    assert strays == {}


def test_broad_excepts_only_where_cases_are_run() -> None:
    broad = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
                broad.append(path.relative_to(PACKAGE).as_posix())
    assert [place for place in broad if not place.startswith("run/")] == []


def test_no_backend_is_named_outside_its_own_room() -> None:
    """A branch on a backend's name is a missing method of the seam."""
    names = {"torch", "torch-compile", "onnxruntime"}
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(("backends/", "models/", "compress/", "base/members/")):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Compare):
                words = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
                assert not words & names, f"{place}:{node.lineno} compares with {words & names}"


@pytest.mark.parametrize("statement", ["import lmbench.plugin.hooks", "import lmbench.cli.main", "import lmbench.plugin.session"])
def test_importing_the_plugin_and_the_command_leaves_torch_alone(statement: str) -> None:
    code = f"import sys; {statement}; print(sorted({HEAVY - {'pynvml'}!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def test_exactly_one_thing_loads_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"lmbench": "lmbench.plugin.hooks"}
    assert "lmbench.plugin" not in (ROOT / "conftest.py").read_text()


def test_the_layers_of_the_linter_are_all_the_rooms() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rooms = {room.strip() for layer in contract["layers"] for room in layer.split(":")}
    assert rooms - {"__main__"} == {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}


def test_commands_print_in_one_place() -> None:
    """What they print was written by others; cli/output.py takes out what a terminal would obey."""
    printing = re.compile(r"click\.echo\(|\bprint\(|sys\.std(?:out|err)\.write\((?!printable)")
    files = [path for path in (PACKAGE / "cli").glob("*.py") if path.name != "output.py"]
    found = [
        (path.name, line) for path in files for line in path.read_text(encoding="utf-8").splitlines() if printing.search(line)
    ]
    assert [one for one in found if "console.print" not in one[1]] == []
