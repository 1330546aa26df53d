"""How long the report site takes for a long history, and how large it is: python -m tests.perf.site_history [runs] [cases]."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmbench.cli.stored import read_parts
from lmbench.measure.clock import CLOCK, process_cpu_s, utc_now
from lmbench.record.codec import dumps
from lmbench.record.record import Record
from lmbench.site.build import build_site
from lmbench.site.gather import gather, read_part
from lmbench.store.imports import run_files
from tests.report import synthetic
from tests.site import stored


def history(root: Path, runs: int, cases: int) -> None:
    """Runs whose records have the size of real ones; only dates and metrics differ between them."""
    folder = root / synthetic.MACHINE / synthetic.MACHINE_ID
    folder.mkdir(parents=True, exist_ok=True)
    made = stored.records(cases)
    texts = [_text(record) for record in made]
    for day in range(runs):
        frame = json.dumps(stored.run(day, [], said=False))
        head, tail = frame.split('"benchmarks": []')
        benchmarks = ",".join(_benchmarks(made, texts, day, 1.2 if day > runs // 2 else 1.0))
        path = folder / f"{day + 1:04d}_run.json"
        path.write_text(f'{head}"benchmarks": [{benchmarks}]{tail}')


def _text(record: Record) -> tuple[str, str]:
    """The record's JSON without its metrics, in two halves around them."""
    text = dumps(record)
    metrics = json.dumps(json.loads(text)["metrics"], separators=(",", ":"))
    before, after = text.split(metrics)
    return before, after


def _benchmarks(made: list[Record], texts: list[tuple[str, str]], day: int, scale: float) -> Iterator[str]:
    rng = np.random.default_rng(day)
    for record, (before, after) in zip(made, texts, strict=True):
        factor = scale * float(rng.lognormal(0, 0.01))
        metrics = {
            name: {
                "name": name,
                "value": None if one.value is None else one.value * (factor if one.kind == "time" else 1.0),
                "unit": one.unit,
                "better": one.better,
                "kind": one.kind,
                "n": one.n,
                "reason": one.reason,
            }
            for name, one in record.metrics.items()
        }
        whole = before + json.dumps(metrics) + after
        whole = whole.replace(record.started_at, stored.moment(day))
        yield f'{{"name": "x", "fullname": "x", "stats": {{}}, "extra_info": {{"lmbench": {whole}}}}}'


def measure(root: Path, out: Path) -> None:
    """Print wall and this process's CPU seconds of reading, gathering and writing, and the sizes of what was written."""
    began, cpu = CLOCK.now(), process_cpu_s()
    found = gather(read_parts(run_files(root), read_part))
    read, read_cpu = CLOCK.now(), process_cpu_s()
    files = build_site(found, [], out, made_at=utc_now())
    print(f"read and gathered: {read - began:.1f} s, CPU {read_cpu - cpu:.1f} s")
    print(f"built and written: {CLOCK.now() - read:.1f} s, CPU {process_cpu_s() - read_cpu:.1f} s")
    sizes = sorted(path.stat().st_size for path in files)
    print(f"{len(files)} files, {sum(sizes) / 1e6:.1f} MB, largest {sizes[-1] / 1e6:.2f} MB")
    print(f"first page {(out / 'index.html').stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    asked = [int(text) for text in sys.argv[1:3]]
    with tempfile.TemporaryDirectory() as folder:
        history(Path(folder) / "baselines", *(asked or [500, 100]))
        measure(Path(folder) / "baselines", Path(folder) / "site")
