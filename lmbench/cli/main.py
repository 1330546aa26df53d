"""`lmbench`: the verbs that need no pytest."""

from __future__ import annotations

import sys

import click

from lmbench import __version__
from lmbench.base.errors import LmbenchError
from lmbench.base.numbers import shown
from lmbench.base.signals import ending_signals
from lmbench.cli.baseline import baseline
from lmbench.cli.capacity import capacity
from lmbench.cli.compare import compare
from lmbench.cli.data import cache, fetch
from lmbench.cli.environments import env
from lmbench.cli.exports import export, query
from lmbench.cli.gate import gate
from lmbench.cli.history import history
from lmbench.cli.load import load
from lmbench.cli.machine import ceilings, doctor
from lmbench.cli.output import Verbs, say
from lmbench.cli.records import records
from lmbench.cli.reference import metrics
from lmbench.cli.report import report
from lmbench.cli.site import site
from lmbench.cli.suites import suites

USAGE_ERROR = 2


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lmbench")
def cli() -> None:
    """Benchmarks and stress tests for language-model workloads.

    Suites are run by pytest:  pytest suites/ --benchmark-compare --benchmark-autosave

    \b
    Before the first run:   lmbench doctor            is this machine fit to measure?
                            lmbench fetch smollm2     a real pretrained model
                            lmbench env list          engines with an environment of their own
    While writing suites:   lmbench suites validate   every fault at once, with file and line
    After a run:            lmbench report            rebuild reports from stored runs
                            lmbench compare last~1 last   is the newest run worse than the one before?
                            lmbench baseline list     what the next run is compared with
    Every night:            lmbench history check     what got slower, and since when?
    On a server:            lmbench load --url URL    what it sustains, what breaks first, does it recover?
    Before a gate:          lmbench gate selftest     what slowdowns can this machine see today?
    Before buying:          lmbench capacity plan P   how many of which machine, at what cost, how sure?
    Before training:        lmbench capacity train P  how long, at what cost, in time?
    To show it all:         lmbench site              every run, trend and plan as pages that need no server
    """


for command in (
    suites,
    metrics,
    fetch,
    cache,
    env,
    export,
    query,
    doctor,
    ceilings,
    report,
    compare,
    baseline,
    records,
    gate,
    history,
    load,
    capacity,
    site,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; expected errors and those of files are one message and exit status 2, SIGTERM and SIGHUP 143 and 129."""
    with ending_signals() as endings:
        try:
            cli()
        except LmbenchError as error:
            say(f"lmbench: {error}", err=True)
            sys.exit(USAGE_ERROR)
        except (OSError, UnicodeError) as error:
            say(f"lmbench: {_words(error)}", err=True)
            sys.exit(USAGE_ERROR)
        except SystemExit:
            if endings.status is None:
                raise
    sys.exit(endings.status)


def _words(error: OSError | UnicodeError) -> str:
    """What the system or the text refused, and where."""
    if isinstance(error, UnicodeError):
        return f"found text that cannot be read or written ({error}); expected UTF-8"
    named = [shown(str(name), 200) for name in (error.filename, error.filename2) if name is not None]
    where = f" at {' and '.join(named)}" if named else ""
    return f"found {error.strerror or error}{where}; expected files that can be read and written"
