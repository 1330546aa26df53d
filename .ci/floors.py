"""Print the lowest versions that pyproject.toml declares, as constraints for pip: the core's and those of the extras named.

python .ci/floors.py load parquet > floors.txt
pip install --constraint floors.txt '.[load,parquet]'
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?(?P<versions>[^;]*)")
FLOOR = re.compile(r">=\s*([0-9][0-9A-Za-z.]*)")


def floors(requirements: Iterable[str]) -> Iterator[str]:
    """`name==lowest` of each requirement with a lower bound; one without has no version to test with: an error."""
    for text in requirements:
        found = REQUIREMENT.match(text)
        if found is None or found["name"] == "pytest-lmbench":
            continue
        lowest = FLOOR.search(found["versions"])
        if lowest is None:
            raise SystemExit(f"{PROJECT.name}: found {text!r}; expected a lowest version, such as {found['name']}>=1.2")
        yield f"{found['name']}=={lowest[1]}"


def main(extras: list[str]) -> None:
    """Print them, one a line."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(text for extra in extras for text in optional[extra])]
    sys.stdout.writelines(f"{line}\n" for line in floors(requirements))


if __name__ == "__main__":
    main(sys.argv[1:])
