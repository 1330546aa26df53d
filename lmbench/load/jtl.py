"""Requests as a JMeter results file (JTL, CSV with a header), which JMeter's dashboard generator and other JTL readers take.

The columns are those JMeter writes by default (its `jmeter.save.saveservice.*` properties). The generator, `jmeter -g file -o
folder`, asks for bytes, label, latency, response code and message, success, thread counts, thread name, time, connect time,
failure message and `timestamp_format=ms`, and reads the timestamp as JMeter ships: `sampleresult.timestamp.start=true`.

| column                 | content                                                                                         |
|------------------------|-------------------------------------------------------------------------------------------------|
| timeStamp              | start of the sample, whole milliseconds since 1970: when the request was due                    |
| elapsed                | whole milliseconds from there to its end, or to the last known moment of one without            |
| label                  | the given label                                                                                 |
| responseCode           | 200, the HTTP status that a failed request reports, or how else it ended (rejected ...)         |
| responseMessage        | OK, or the error                                                                                |
| threadName             | `step <n> 1-1`: JMeter groups by what stands before the last blank; an open loop has no threads |
| dataType               | text                                                                                            |
| success                | true when the request completed                                                                 |
| failureMessage         | the error                                                                                       |
| bytes, sentBytes       | 0: not recorded                                                                                 |
| grpThreads, allThreads | requests of the step, and of all steps, that were open when this one ended                      |
| URL                    | the given URL, or null                                                                          |
| Latency                | milliseconds from the sample's start to the first token, or to the first byte where no token's  |
|                        | time is known; 0 where nothing came                                                             |
| IdleTime, Connect      | 0: no idle time; connecting is not told apart                                                   |

JMeter itself counts from the moment of sending. Here the start is the scheduled moment, so that a late client or a full queue
cannot hide; `JtlOptions.service` asks for the start of service instead.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.files import write_atomically
from lmbench.load.requests import PENDING, RequestLog

COLUMNS = (
    "timeStamp",
    "elapsed",
    "label",
    "responseCode",
    "responseMessage",
    "threadName",
    "dataType",
    "success",
    "failureMessage",
    "bytes",
    "sentBytes",
    "grpThreads",
    "allThreads",
    "URL",
    "Latency",
    "IdleTime",
    "Connect",
)
HTTP_STATUS = re.compile(r"HTTP (\d{3})\b")
SPECIAL = re.compile('[,"\r\n]')


@dataclass(frozen=True, slots=True, kw_only=True)
class JtlOptions:
    """What the requests themselves do not know."""

    epoch_s: float
    """Wall clock, seconds since 1970, at `start_s` of the run's clock."""
    start_s: float = 0.0
    label: str = "request"
    url: str | None = None
    service: bool = False
    """Count from the start of service instead of the scheduled moment."""


def write_jtl(path: Path, logs: Sequence[RequestLog], options: JtlOptions) -> None:
    """Write `logs` as one file, in order of their ends as JMeter does; pending requests are left out."""
    write_atomically(path, jtl(logs, options))


def jtl(logs: Sequence[RequestLog], options: JtlOptions) -> str:
    """The file's text."""
    ended = sorted((log for log in logs if log.status != PENDING), key=_end_s)
    steps: dict[int, list[RequestLog]] = defaultdict(list)
    for log in ended:
        steps[log.request.step].append(log)
    groups = {step: _Open(entries, options) for step, entries in steps.items()}
    everything = _Open(ended, options)
    rows = [COLUMNS, *(_row(log, options, groups[log.request.step].at(log), everything.at(log)) for log in ended)]
    return "".join(",".join(_quoted(value) for value in row) + "\n" for row in rows)


class _Open:
    """How many of some requests are open at a moment."""

    def __init__(self, logs: Sequence[RequestLog], options: JtlOptions) -> None:
        self._starts = sorted(_begin_s(log, options) for log in logs)
        self._ends = sorted(max(_end_s(log), _begin_s(log, options)) for log in logs)

    def at(self, log: RequestLog) -> int:
        """Those open at the end of `log`, itself included."""
        moment = _end_s(log)
        return max(1, bisect_right(self._starts, moment) - bisect_left(self._ends, moment))


def _row(log: RequestLog, options: JtlOptions, group: int, everything: int) -> tuple[str, ...]:
    begin = _begin_s(log, options)
    first = log.first_token_s if log.first_token_s is not None else log.first_byte_s
    http = HTTP_STATUS.match(log.error)
    values = {
        "timeStamp": round((options.epoch_s + begin - options.start_s) * 1000),
        "elapsed": _milliseconds(begin, _end_s(log)),
        "label": options.label,
        "responseCode": "200" if log.completed else http[1] if http else log.status,
        "responseMessage": "OK" if log.completed else log.error or log.status,
        "threadName": f"step {log.request.step + 1} 1-1",
        "dataType": "text",
        "success": str(log.completed).lower(),
        "failureMessage": log.error,
        "grpThreads": group,
        "allThreads": everything,
        "URL": options.url or "null",
        "Latency": 0 if first is None else _milliseconds(begin, first),
    }
    return tuple(str(values.get(name, 0)) for name in COLUMNS)


def _begin_s(log: RequestLog, options: JtlOptions) -> float:
    """Start of the sample; the scheduled moment also of a request whose service never began."""
    return log.started_s if options.service and log.started_s is not None else log.request.scheduled_s


def _end_s(log: RequestLog) -> float:
    """End of the sample; where it is not known, the last moment that is."""
    known = (log.finished_s, *log.token_times_s[-1:], log.first_token_s, log.first_byte_s, log.started_s)
    return next((moment for moment in known if moment is not None), log.request.sent_s)


def _milliseconds(begin: float, end: float) -> int:
    return max(0, round((end - begin) * 1000))


def _quoted(value: str) -> str:
    """As JMeter quotes: only where needed, quotes doubled. Line breaks may stand inside quotes."""
    return '"' + value.replace('"', '""') + '"' if SPECIAL.search(value) else value
