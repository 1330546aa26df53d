"""`lmbench load`: load on an OpenAI-compatible endpoint, without a suite."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from lmbench.base.errors import LmbenchError
from lmbench.base.files import exclusive_if_possible
from lmbench.base.numbers import LONGEST_S, MOST_CHARS, shown
from lmbench.base.scratch import clear_abandoned
from lmbench.base.signals import ending_signals, only_note_signals
from lmbench.cli.load_answer import print_record
from lmbench.cli.load_files import REQUESTS, write_run
from lmbench.cli.numbers import POSITIVE, SEED, whole
from lmbench.cli.numbers import SECONDS as TIME
from lmbench.cli.output import console_for, say, say_over
from lmbench.compare.gate import UNWRITTEN_STATUS
from lmbench.load.forms import SECONDS
from lmbench.measure.clock import utc_now
from lmbench.measure.machine import machine_class
from lmbench.plan.case import Case, Choice
from lmbench.plan.expand import require_valid
from lmbench.plan.select import obstacle
from lmbench.record.environment import collect
from lmbench.run.execute import Setting, execute
from lmbench.store.runs import StoredRun
from lmbench.suite.document import Document
from lmbench.suite.faults import problems_of
from lmbench.suite.options import EndpointOptions
from lmbench.suite.params import Params, Slo, StressParams
from lmbench.workloads.stress_endpoint import endpoint_of

SUITE = "load"
INTERRUPTED, FAILED = 130, 1
LOG_WIDTH = 1000
"""Of tables in a log, where a line that is too long does less harm than one that is cut in pieces."""
OBJECTIVE = re.compile(r"(ttft|tpot|latency)(?:_p(\d+(?:\.\d+)?))?=(\d+(?:\.\d+)?)(ms|s|m)")

if TYPE_CHECKING:  # generic only in versions of click above the lowest declared one
    _SloParameter = click.ParamType[Slo]
else:
    _SloParameter = click.ParamType


class SloType(_SloParameter):
    """'ttft_p95=500ms,tpot_p95=50ms' as an Slo."""

    name = "slo"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slo:
        if isinstance(value, Slo):
            return value
        limits: dict[str, float] = {}
        shares: set[float] = set()
        for part in str(value).split(","):
            match = OBJECTIVE.fullmatch(part.strip()) if len(part) <= MOST_CHARS else None
            if match is None:
                self.fail(
                    f"found {shown(part.strip())}; expected for example ttft_p95=500ms, tpot_p95=50ms or latency=2s", param, ctx
                )
            name, percent, number, unit = match.groups()
            if f"{name}_s" in limits:
                self.fail(f"found {name} twice; expected one objective of each kind", param, ctx)
            limits[f"{name}_s"] = float(number) * SECONDS[unit]
            shares.add(float(percent or 95))
        if len(shares) > 1:
            found = ", ".join(f"p{share:g}" for share in sorted(shares))
            self.fail(
                f"found {found}; expected one percentile: it is the share of requests that must meet all objectives", param, ctx
            )
        if not (0 < min(shares) <= 100 and min(limits.values()) > 0):
            self.fail(f"found {value!r}; expected times above 0 and a percentile above 0, 100 at most", param, ctx)
        try:
            return Slo(**limits, attainment=shares.pop() / 100)
        except ValidationError:
            self.fail(f"found {shown(str(value))}; expected times of at most {LONGEST_S:g} s", param, ctx)


@click.command()
@click.option("--url", required=True, help="base URL, such as http://127.0.0.1:8000; {port} is the port of --server")
@click.option("--model", default="default", show_default=True, help="model name in the requests")
@click.option("--api", type=click.Choice(["completions", "chat"]), default="completions", show_default=True)
@click.option("--stream/--no-stream", default=True, show_default=True, help="without a stream there is no time to first token")
@click.option("--api-key-env", metavar="NAME", help="environment variable that holds the API key; the key is never kept")
@click.option("--secret-env", metavar="NAME", multiple=True, help="a variable whose value nothing written may hold; repeatable")
@click.option("--server", metavar="COMMAND", help="start this server first, and end it with all it started (no shell)")
@click.option("--ready", default="/health", show_default=True, help="path that answers 200 once --server serves, or tcp")
@click.option("--shape", metavar="LINE", help="any load shape on one line, see below")
@click.option("--ramp", metavar="A..B", help="double the rate from A to B requests/s until the SLO breaks")
@click.option("--search", metavar="A", help="search for the highest rate that keeps the SLO, from A requests/s on")
@click.option("--step", default="10s", show_default=True, help="length of a step of --ramp and --search")
@click.option("--trace", type=click.Path(exists=True, dir_okay=False), help="replay recorded traffic (Mooncake, BurstGPT, Azure)")
@click.option("--trace-speed", type=POSITIVE, default=1.0, show_default=True)
@click.option("--arrivals", type=click.Choice(["poisson", "constant", "gamma"]), default="poisson", show_default=True)
@click.option("--burstiness", type=POSITIVE, default=1.0, show_default=True, help="of gamma arrivals")
@click.option("--slo", type=SloType(), help="such as ttft_p95=500ms,tpot_p95=50ms; default: latency at 5 x the unloaded median")
@click.option("--prompt-tokens", default="64", show_default=True, help="a number, or such as 'uniform 32..128'")
@click.option("--output-tokens", default="16", show_default=True, help="a number, or such as 'lognormal 64 0.5'")
@click.option("--prompts", type=click.Choice(["unique", "shared-prefix", "sessions"]), default="unique", show_default=True)
@click.option("--tokenizer", default="bytes", show_default=True, help="the model's: a tokenizer.json, smollm2, bytes")
@click.option("--token-ids", is_flag=True, help="send prompts as token ids, for exact lengths (completions only)")
@click.option("--timeout", default=60.0, show_default=True, type=TIME, help="seconds per request")
@click.option("--processes", type=whole(1), help="client processes; default: as many as the top rate needs")
@click.option("--seed", type=SEED, default=0, show_default=True, help="of arrivals, lengths and prompts")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True, help="folder"
)
@click.option("--jtl", type=click.Path(dir_okay=False, path_type=Path), help="also write the requests as a JMeter results file")
def load(**given: Any) -> None:
    """Put load on an OpenAI-compatible endpoint and say what it sustains, what breaks first and how sure that is.

    Latencies count from the scheduled moment of each request, so that a stall is felt by everyone who came meanwhile.
    Reports (HTML, Markdown, CSV) and a log of every request go to --out.

    \b
    lmbench load --url http://127.0.0.1:8000 --model M --ramp 1..64 --slo ttft_p95=500ms,tpot_p95=50ms
    lmbench load --url http://127.0.0.1:8000 --search 1 --step 20s --slo latency_p95=2s
    lmbench load --url http://127.0.0.1:8000 --shape 'spike 5..50 for 10s, 30s around'
    lmbench load --url http://127.0.0.1:{port} --server 'my-server --port {port}' --ramp 1..64

    \b
    Shapes: hold 20 for 60s          steps 5, 10, 20 for 30s each     ramp 1..64 in 60s
            ramp 1..64 x1.5 for 10s each     spike 5..50 for 10s, 30s around      soak 10 for 2h
            wave 5..40 for 10m       closed 1, 4, 16 for 30s each, think 500ms
            search 1.. for 20s each, within 5%

    Ctrl-C, SIGTERM and SIGHUP end the run early; what was measured by then is reported. The files of a run that came to its
    end are never replaced by those of one that failed or was interrupted: these go to a folder of that name in --out.
    Exit status: 0 when done, 1 when the run failed, 2 for a usage error, 9 when a complete run could not write all of its
    files (each is named, and where the record is); 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    with ending_signals(ctrl_c=True) as endings:
        try:
            status = _run(_case(given), given["out"], given["jtl"])
        except KeyboardInterrupt as error:
            how = "" if endings.number in (None, signal.SIGINT) else f" ({error})"
            say(f"interrupted before a step had begun{how}: there is nothing to report", err=True)
            status = INTERRUPTED
    sys.exit(status if endings.status is None else endings.status)


def _run(case: Case, out: Path, jtl: Path | None) -> int:
    """Run `case`, print and write what it came to; the exit status."""
    clear_abandoned()
    started_at = utc_now()
    environment = collect()
    setting = Setting(
        environment=environment.digest, machine_class=machine_class().slug, artifacts=str(out / REQUESTS), partial=True
    )
    record = execute(case, setting, _tell)
    only_note_signals()
    _tell("")
    run = StoredRun(
        path=out,
        number=None,
        id=f"load-{started_at}-{os.getpid()}",
        complete=True,  # the record itself says how far it went
        info={"started_at": started_at, "finished_at": utc_now(), "suites": [SUITE]},
        environment=environment.facts,
        machine_class=setting.machine_class,
        records=(record,),
    )
    print_record(record, console_for(LOG_WIDTH))
    with exclusive_if_possible(out / REQUESTS):
        files = write_run(run, out, jtl)
    for path in files.paths:
        say(f"written: {path}")
    if files.record is not None:
        say(f"record: {files.record}")
    if files.kept:
        say(files.kept)
    for problem in files.problems:
        say(problem, err=True)
    complete = UNWRITTEN_STATUS if files.problems else 0
    return FAILED if record.failure else INTERRUPTED if record.details.get("interrupted") else complete


def _case(given: dict[str, Any]) -> Case:
    """The case the options declare; whatever is wrong with them is a usage error."""
    try:
        options, params = _options(given), _params(given)
        endpoint_of(options)
        case = Case(
            suite=SUITE,
            name="load",
            workload="stress",
            params=params.model_dump(),
            model=Choice(name=re.sub(r"[^A-Za-z0-9._-]+", "-", given["model"]), kind="endpoint", options=_written(options)),
            backend=Choice(name="http", kind="http"),
            compression=Choice(name="none", kind="none"),
            corpus={"source": "python-reference"},
            seed=given["seed"],
        )
        require_valid(case)
        case.declare_secrets()
    except (LmbenchError, ValidationError) as error:
        raise click.UsageError(_words(error)) from None
    if lack := obstacle(case):
        raise click.UsageError(lack)
    return case


def _options(given: dict[str, Any]) -> EndpointOptions:
    server = None
    if given["server"] is not None:
        try:
            server = {"command": shlex.split(given["server"]), "ready": given["ready"]}
        except ValueError as error:
            raise click.UsageError(f"--server: found {given['server']!r} ({error}); expected a command with its quotes") from None
    same = ("url", "api", "stream", "tokenizer", "token_ids", "api_key_env")
    others = list(given["secret_env"])
    return EndpointOptions(**{name: given[name] for name in same}, name=given["model"], server=server, secret_env=others)


def _written(options: EndpointOptions) -> dict[str, Any]:
    """The options as a case keeps them; a list of secrets that is empty makes no other case."""
    return options.model_dump(exclude=set() if options.secret_env else {"secret_env"})


def _params(given: dict[str, Any]) -> StressParams:
    same = ("prompts", "arrivals", "burstiness", "trace", "trace_speed", "slo", "processes")
    return StressParams(
        **{name: given[name] for name in same},
        prompt_tokens=_lengths(given["prompt_tokens"]),
        output_tokens=_lengths(given["output_tokens"]),
        shape=_shape(given),
        request_timeout_s=given["timeout"],
    )


def _words(error: LmbenchError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        roots: dict[str, type[Params]] = {schema.__name__: schema for schema in (EndpointOptions, StressParams)}
        found = problems_of(error, Document(), SUITE, root=roots[error.title])
        return "\n".join(f"{problem.key}: found {problem.found}; expected {problem.expected}" for problem in found)
    return str(error)


def _lengths(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) <= MOST_CHARS else text


def _shape(given: dict[str, Any]) -> str | None:
    """The one line of --shape, --ramp or --search; None for a trace."""
    named = [name for name in ("shape", "ramp", "search", "trace") if given[name]]
    if len(named) != 1:
        found = " and ".join(f"--{name}" for name in named) or "none of them"
        raise click.UsageError(f"found {found}; expected one of --shape, --ramp, --search and --trace")
    if named == ["ramp"]:
        return f"ramp {given['ramp']} x2 for {given['step']} each"
    if named == ["search"]:
        return f"search {given['search']}.. for {given['step']} each"
    return given["shape"] if named == ["shape"] else None


def _tell(text: str) -> None:
    """Progress on standard error: one changing line in a terminal, a line per message in a log."""
    if sys.stderr.isatty():
        say_over(text, shutil.get_terminal_size().columns - 1)
    elif text:
        say(text, err=True)
