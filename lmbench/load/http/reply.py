"""One reply as it comes in: events found in any cut of the bytes, each token stamped with its packet's arrival."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.printing import printable
from lmbench.base.secrets import beginning
from lmbench.load.http.answers import DONE, Piece, parse
from lmbench.load.http.bounds import IDLE_EVENTS, MOST_TOKENS, most_events, read_usage
from lmbench.load.http.skeleton import Skeleton, learn
from lmbench.load.requests import COMPLETED, FAILED, REJECTED

MAX_BODY_BYTES = 64 << 20
MAX_WHOLE_BYTES = 8 << 20
"""Of a reply that is not streamed: it is kept until it is whole, and read at once."""
MAX_EVENT_BYTES = 1 << 20
FIELD = b"data: "
LESSONS = 3
"""Events of one reply from which a skeleton is learned before giving up; a lesson costs a second parsing."""
KEPT_BYTES = 8 << 10
"""How much of a strange reply its error message quotes; whoever tells the message shortens it."""
FULL = (429, 503)
"""Too Many Requests and Service Unavailable (RFC 6585, section 4; RFC 9110, section 15.6.4): the queue was full."""


class Reply:
    """Collects one reply. `problem` is set once it cannot be read further; moments are those given to `add`.

    `asked` is how many tokens the request asked for, `prompt_bytes` how long it was: what the reply counts is held against them.
    """

    __slots__ = (
        "_asked",
        "_idle",
        "_kept",
        "_lessons",
        "_most",
        "_prompt_bytes",
        "_rest",
        "_rests",
        "_skeleton",
        "done",
        "finish_reason",
        "finished_s",
        "first_byte_s",
        "http_status",
        "problem",
        "size_bytes",
        "stream",
        "token_times_s",
        "usage",
    )

    def __init__(self, *, stream: bool, asked: int = MOST_TOKENS, prompt_bytes: int = MOST_TOKENS) -> None:
        self.stream = stream
        self._asked, self._prompt_bytes = asked, prompt_bytes
        self._most, self._idle = most_events(asked), 0
        self.http_status = 0
        self.first_byte_s: float | None = None
        self.finished_s: float | None = None
        self.token_times_s: list[float] = []
        self.usage: dict[str, int] = {}
        self.finish_reason: str | None = None
        self.done = False
        self.problem = ""
        self.size_bytes = 0
        self._rest = b""
        self._rests: list[bytes] = []
        self._kept: list[bytes] = []
        self._skeleton: Skeleton | None = None
        self._lessons = 0

    def add(self, piece: bytes, now: float) -> None:
        """Take the next bytes of the body, which arrived at `now`."""
        self.size_bytes += len(piece)
        good = 200 <= self.http_status < 300
        if self.stream and good:
            self._add_events(piece, now)
        else:
            if good or self.size_bytes - len(piece) < KEPT_BYTES:
                self._kept.append(piece)
            self.finished_s = now
        most = MAX_BODY_BYTES if self.stream else MAX_WHOLE_BYTES
        if self.size_bytes > most and not self.problem:
            self.problem = f"the reply is longer than {most >> 20} MiB"

    def end(self, *, broken: bool = False) -> tuple[str, str]:
        """(status, error) once no more bytes come: because the reply is over, or because its connection broke."""
        if self.problem:
            return FAILED, self.problem
        if not 200 <= self.http_status < 300:
            status = REJECTED if self.http_status in FULL else FAILED
            return status, f"HTTP {self.http_status}: {quoted(b''.join(self._kept))}"
        if not self.stream:
            return self._end_of_body()
        rest = self._take_rest()
        if not broken and rest.strip():  # some servers leave out the last empty line
            self._add_events(rest.rstrip(b"\r\n") + b"\n\n", self.finished_s or self.first_byte_s or 0.0)
        return self._end_of_stream()

    @property
    def finished(self) -> bool:
        """Whether a stream has said that it is over."""
        return self.done or self.finish_reason is not None

    @property
    def tokens(self) -> int:
        """Tokens as the server counts them, else the events that carried text."""
        reported = self.count("completion_tokens")
        return len(self.token_times_s) if reported is None else reported

    def count(self, name: str) -> int | None:
        """A number of the reply's usage; None when the server did not report it."""
        return self.usage.get(name)

    def _add_events(self, piece: bytes, now: float) -> None:
        if b"\n" not in piece and b"\r" not in piece and not self._rest.endswith((b"\n", b"\r")):
            self._rests.append(piece)  # joined once: a long line may come byte by byte
            self._measure_rest()
            return
        buffer = self._take_rest() + piece
        held = b""
        if b"\r" in buffer:  # JSON writes \r as two characters, so this is the end of a line
            if buffer.endswith(b"\r"):  # perhaps half of \r\n
                buffer, held = buffer[:-1], b"\r"
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = buffer.split(b"\n\n")
        self._rest = events.pop() + held
        for event in events:
            if self.done or self.problem:
                break
            if self._skeleton is not None and self._skeleton.fits(event):
                self._token(now)
                self.finished_s = now
            elif event.startswith(FIELD) and b"\n" not in event:
                self._payload(event[len(FIELD) :], now)
            else:
                self._lines(event, now)
        self._measure_rest()

    def _take_rest(self) -> bytes:
        """The beginning of an event whose end has not come yet."""
        rest = b"".join([self._rest, *self._rests]) if self._rests else self._rest
        self._rest = b""
        self._rests.clear()
        return rest

    def _measure_rest(self) -> None:
        if len(self._rest) + (sum(map(len, self._rests)) if self._rests else 0) > MAX_EVENT_BYTES and not self.problem:
            self.problem = f"an event is longer than {MAX_EVENT_BYTES >> 10} KiB"

    def _token(self, now: float) -> None:
        if len(self.token_times_s) >= self._most:
            self.problem = f"the stream has more than {self._most} events with a token; {self._asked} tokens were asked for"
            return
        self.token_times_s.append(now)

    def _without_token(self) -> None:
        self._idle += 1
        if self._idle > IDLE_EVENTS:
            self.problem = f"the stream has more than {IDLE_EVENTS} events without a token"

    def _count(self, usage: Mapping[str, object]) -> None:
        """Keep what the reply counts, or why it is not to be believed."""
        try:
            self.usage = read_usage(usage, asked=self._asked, prompt_bytes=self._prompt_bytes)
        except ValueError as error:
            self.problem = self.problem or f"the reply is not to be believed: {error}"

    def _lines(self, event: bytes, now: float) -> None:
        """An event of any shape (HTML Living Standard, section 9.2.6): comments, other fields, several data lines."""
        self._without_token()
        data, kind = [], b""
        for line in event.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value
        if kind == b"error":
            self.problem = self.problem or f"the stream reported an error: {_error_in(b' '.join(data))}"
        elif data:
            self._payload(b"\n".join(data), now)

    def _payload(self, payload: bytes, now: float) -> None:
        self.finished_s = now
        if payload == DONE or payload.strip() == DONE:
            self.done = True
            return
        try:
            piece = parse(payload)
        except ValueError:
            self.problem = f"bad JSON in an event of the stream: {quoted(payload)}"
            return
        if not piece.has_token:
            self._without_token()
        else:
            self._token(now)
            if self._skeleton is None and self._lessons < LESSONS:
                self._lessons += 1
                self._skeleton = learn(FIELD, payload, piece)
        if piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason
        if piece.usage is not None:
            self._count(piece.usage)
        if piece.error:
            self.problem = f"the stream reported an error: {piece.error}"

    def _end_of_stream(self) -> tuple[str, str]:
        if self.problem:
            return FAILED, self.problem
        if not self.finished:
            return (
                FAILED,
                f"the stream ended before it was finished ({len(self.token_times_s)} tokens, neither [DONE] nor a reason)",
            )
        if not self.tokens:
            return FAILED, "the stream was finished without a token"
        return COMPLETED, ""

    def _end_of_body(self) -> tuple[str, str]:
        content = b"".join(self._kept)
        try:
            piece = parse(content)
        except ValueError:
            return FAILED, f"bad JSON in the reply: {quoted(content)}"
        if piece.error:
            return FAILED, f"the reply reports an error: {piece.error}"
        self._count(piece.usage or {})
        if self.problem:
            return FAILED, self.problem
        self.finish_reason = piece.finish_reason
        if not piece.has_token and not self.tokens:
            return FAILED, "the reply holds no token"
        return COMPLETED, ""


def quoted(content: bytes) -> str:
    """What a server sent, fit for one line of a message."""
    words = beginning(content[: 4 * KEPT_BYTES].decode(errors="replace"), KEPT_BYTES)
    return printable(" ".join(words.split())) or "(empty)"


def _error_in(data: bytes) -> str:
    """The words of an error event, which need not be JSON."""
    try:
        piece = parse(data)
    except ValueError:
        piece = Piece()
    return piece.error or quoted(data)
