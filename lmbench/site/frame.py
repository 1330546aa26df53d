"""Pages to files: one frame around all of them, everything from records escaped, scripts and styles beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from lmbench import __version__
from lmbench.base.errors import Unreadable
from lmbench.base.files import write_atomically
from lmbench.base.json_text import read_object
from lmbench.base.reading import is_file
from lmbench.base.units import pretty, pretty_change
from lmbench.report.layout import about
from lmbench.site.nouns import Page
from lmbench.site.plots import script_json

NAVIGATION = (
    ("index.html", "Overview"),
    ("trends.html", "Trends"),
    ("matrix.html", "Matrix"),
    ("load.html", "Load"),
    ("training.html", "Training"),
    ("roofline.html", "Roofline"),
    ("capacity.html", "Capacity"),
    ("environment.html", "Environment"),
    ("method.html", "Method"),
)
MANIFEST = "lmbench-site.json"
"""The files of the last build: those that the next one no longer has are deleted, and no others."""
ASSETS = "assets"
STYLE = "site.css"


def write_site(pages: Iterable[Page], folder: Path, *, made_at: str, runs: int) -> list[Path]:
    """Write every page and what they share below `folder`; delete what an earlier build left and this one has not."""
    written = []
    for page in pages:
        write_atomically(folder / page.path, rendered(page, made_at=made_at, runs=runs))
        written.append(page.path)
    for name, content in _assets():
        write_atomically(folder / ASSETS / name, content)
        written.append(f"{ASSETS}/{name}")
    # GitHub Pages would leave out what Jekyll does not know.
    write_atomically(folder / ".nojekyll", "")
    _clear(folder, written)
    write_atomically(folder / MANIFEST, json.dumps({"schema_version": 1, "made_at": made_at, "files": written}, indent=1))
    return [folder / path for path in written]


def rendered(page: Page, *, made_at: str, runs: int) -> str:
    """The whole document."""
    depth = len(PurePosixPath(page.path).parts) - 1
    return (
        environment()
        .get_template(page.template)
        .render(
            **page.content,
            page=page,
            root="../" * depth,
            navigation=NAVIGATION,
            section=page.section or page.path,
            data=None if page.data is None else script_json(page.data),
            made_at=made_at,
            runs_read=runs,
            version=__version__,
        )
    )


@cache
def environment() -> Environment:
    """Templates of this room, those of reports for parts they share."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("lmbench.site", "templates"), PackageLoader("lmbench.report", "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"pretty": pretty, "change": pretty_change, "about": about}
    return made


def _assets() -> Iterable[tuple[str, bytes | str]]:
    yield STYLE, environment().get_template("site.css.j2").render()
    for entry in sorted(files("lmbench.site").joinpath("static").iterdir(), key=lambda entry: entry.name):
        if entry.is_file():
            yield entry.name, entry.read_bytes()


def _clear(folder: Path, written: Sequence[str]) -> None:
    """Only what a manifest of this folder names, and only below it."""
    try:
        before = read_object(folder / MANIFEST)["files"]
    except (Unreadable, KeyError):
        return
    kept, inside = set(written), folder.resolve()
    for name in before if isinstance(before, list) else ():
        path = (folder / str(name)).resolve()
        if name not in kept and path.is_relative_to(inside) and is_file(path):
            path.unlink()
