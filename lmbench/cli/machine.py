"""`lmbench doctor` and `lmbench ceilings`: what this machine has, lacks and can do at most."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click
from rich.table import Table

from lmbench.base.units import pretty
from lmbench.cli.output import print_table, say, say_json
from lmbench.measure import ceilings as measured
from lmbench.measure.machine import machine_class
from lmbench.run.doctor import diagnose, exit_status


@click.command()
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def doctor(*, as_json: bool) -> None:
    """Is this machine fit to measure? Noise, governor, throttling, swap, probes and backends, with remedies.

    Exit status: 0 fit, 1 with warnings, 2 when something makes numbers wrong.
    """
    findings = diagnose()
    if as_json:
        rows = [asdict(finding) for finding in findings]
        say_json({"machine_class": machine_class().slug, "findings": rows})
    else:
        say(f"machine class: {machine_class().slug}")
        table = Table("", "area", "found", "why it matters", "remedy", box=None, pad_edge=False)
        for finding in findings:
            table.add_row(finding.level, finding.area, finding.found, finding.why, finding.remedy)
        print_table(table, 180)
    sys.exit(exit_status(findings))


@click.command()
@click.option("--threads", type=click.IntRange(min=1), help="compute threads (default: the thread budget of this shell)")
@click.option("--refresh", is_flag=True, help="measure again and replace the cached values")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def ceilings(*, threads: int | None, refresh: bool, as_json: bool) -> None:
    """Measure this machine's peaks: matmul FLOP/s per dtype and memory bandwidth.

    They are the denominators of MFU and MBU, cached per machine class and number of threads; a case is held to those of its own
    number. Measure them while nothing else runs.
    """
    found = measured.ceilings(lambda text: say(text, err=True), threads=threads, refresh=refresh)
    if as_json:
        say_json(asdict(found))
        return
    for dtype, flops in found.matmul_flops.items():
        say(f"matmul {dtype:6} {pretty(flops, 'FLOP/s')}")
    say(f"memory        {pretty(found.memory_bytes_per_s, 'bytes/s')}")
    say(f"threads       {found.threads or '-'}")
    say(f"measured at   {found.measured_at}")
