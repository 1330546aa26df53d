"""One client against a scripted server: every fault has its words, no request is lost, no key is told."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmbench.base.errors import Unavailable
from lmbench.load.http.client import Client
from lmbench.load.http.endpoint import CHAT, COMPLETIONS, Ask, Endpoint, body
from lmbench.load.http.exchange import Exchange
from lmbench.load.requests import CANCELLED, COMPLETED, ENDS, FAILED, REJECTED, TIMED_OUT, Request
from lmbench.measure.clock import CLOCK
from tests.load.http.modes import FAULTS, GOOD, MODES, Options
from tests.load.http.serving import Server, serving

LONG_S = 600.0
SHORT_S = 0.5
"""A time-out for replies that never come; those that do come in a few milliseconds, but nothing here depends on it."""


def endpoint(port: int, api: str = COMPLETIONS, *, stream: bool = True, key: str | None = None) -> Endpoint:
    return Endpoint(url=f"http://127.0.0.1:{port}", model="m", api=api, stream=stream, api_key_env=key)


class Talk:
    """A client and what became of its requests, in order of their ends."""

    def __init__(self, target: Endpoint, *, timeout_s: float = LONG_S, retries: int = 0) -> None:
        self.target = target
        self.client = Client(target, asyncio.get_running_loop(), CLOCK.now, timeout_s=timeout_s, retries=retries)
        self.ended: list[tuple[int, Exchange]] = []
        self.sent = 0
        self._changed = asyncio.Event()

    def send(self, prompt: str) -> None:
        moment = CLOCK.now()
        request = Request(index=self.sent, step=0, scheduled_s=moment, sent_s=moment)
        self.sent += 1
        self.client.submit(request, self.client.wire(body(self.target, Ask(prompt=prompt, max_tokens=4))), self._end)

    async def ask(self, prompt: str) -> Exchange:
        self.send(prompt)
        return (await self.all())[-1][1]

    async def all(self) -> list[tuple[int, Exchange]]:
        async with asyncio.timeout(LONG_S):
            while len(self.ended) < self.sent:
                self._changed.clear()
                await self._changed.wait()
        return self.ended

    def _end(self, request: Request, exchange: Exchange) -> None:
        self.ended.append((request.index, exchange))
        self._changed.set()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On uvloop where it is installed, as the client processes do."""
    try:
        import uvloop
    except ImportError:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


WORDS = {
    "500": (FAILED, 'HTTP 500: {"error": {"message": "the model fell over"}}'),
    "429": (REJECTED, "HTTP 429: queue full"),
    "echo": (FAILED, "HTTP 401"),
    "hang": (TIMED_OUT, "0 tokens had come"),
    "hang-inside": (TIMED_OUT, "1 tokens had come"),
    "close-before": (FAILED, "the connection was closed before a byte of the reply"),
    "close-head": (FAILED, "the connection was closed inside the head of the reply"),
    "close-inside": (FAILED, "the connection was closed in the middle of the reply"),
    "half-chunk": (FAILED, "the connection was closed inside a chunk of the reply"),
    "reset": (FAILED, "the server reset the connection before a byte of the reply"),
    "reset-inside": (FAILED, "of the reply, after"),
    "garbage": (FAILED, "is not HTTP"),
    "endless-head": (FAILED, "the head of the reply is longer than 64 KiB"),
    "endless-event": (FAILED, "an event is longer than"),
    "unfinished": (FAILED, "the stream ended before it was finished"),
    "bad-json": (FAILED, "bad JSON in an event"),
    "error-event": (FAILED, "the stream reported an error: out of memory"),
}


def test_every_fault_of_the_server_has_words() -> None:
    assert set(WORDS) == set(FAULTS)


@pytest.mark.parametrize("mode", sorted(FAULTS))
def test_a_fault_is_told_in_plain_words_and_its_connection_is_not_used_again(mode: str, server: tuple[int, Server]) -> None:
    async def main() -> None:
        talk = Talk(endpoint(server[0]), timeout_s=SHORT_S if "hang" in mode else LONG_S)
        await talk.client.warm(1)
        failed = await talk.ask(mode)
        after = await talk.ask("again")
        status, words = WORDS[mode]
        assert failed.status == status
        assert words in failed.error
        assert after.status == COMPLETED
        answered_in_order = mode in {"500", "429", "echo", "unfinished"}
        assert after.connection_reused == answered_in_order
        assert talk.client.in_flight == 0
        talk.client.close()

    run(main)


@pytest.mark.parametrize("api", [COMPLETIONS, CHAT])
@pytest.mark.parametrize("mode", sorted(GOOD))
def test_good_replies_in_every_shape(mode: str, api: str, server: tuple[int, Server]) -> None:
    async def main() -> None:
        talk = Talk(endpoint(server[0], api, stream=mode != "plain"), timeout_s=SHORT_S if "hang" in mode else LONG_S)
        found = await talk.ask(mode)
        assert (found.status, found.error, found.http_status) == (COMPLETED, "", 200)
        assert found.tokens == found.completion_tokens_reported == {"latency": 4, "slots": 4, "plain": 4, "split": 2}.get(mode, 3)
        assert found.prompt_tokens == 3
        assert len(found.token_times_s) == (0 if mode == "plain" else found.tokens)
        moments = [found.sent_s, found.started_s, found.first_byte_s, *found.token_times_s, found.finished_s]
        assert None not in moments
        assert moments == sorted(moment for moment in moments if moment is not None)
        assert (await talk.ask("again")).status == COMPLETED
        talk.client.close()

    run(main)


def test_connections_are_kept_and_opened_when_none_is_free() -> None:
    async def main() -> None:
        with serving(Options(ttft_s=0.05)) as (port, server):
            talk = Talk(endpoint(port))
            await talk.client.warm(3)
            for _ in range(5):
                talk.send("x")
            ended = await talk.all()
            assert sorted(found.connection_reused for _, found in ended) == [False] * 5
            for _ in range(5):
                talk.send("x")
            assert all(found.connection_reused for _, found in (await talk.all())[5:])
            assert server.connections == 5
            talk.client.close()

    run(main)


def test_a_kept_connection_found_closed_is_opened_once_more_and_that_is_no_retry(server: tuple[int, Server]) -> None:
    async def main() -> None:
        talk = Talk(endpoint(server[0]))
        assert not (await talk.ask("x")).reopened
        found = await talk.ask("close-first reopened")
        assert (found.status, found.reopened, found.attempts, found.connection_reused) == (COMPLETED, True, 1, False)
        twice = await talk.ask("close-before twice")
        assert (twice.status, twice.reopened, twice.attempts) == (FAILED, True, 1)
        fresh = await talk.ask("close-first fresh")
        assert (fresh.status, fresh.reopened) == (FAILED, False)
        assert talk.client.reopened == 2
        assert [call.prompt for call in server[1].calls].count("close-before twice") == 2
        talk.client.close()

    run(main)


def test_a_connection_that_is_known_to_be_closed_is_not_used() -> None:
    async def main() -> None:
        with serving(Options(keep_alive_s=0.02)) as (port, server):
            talk = Talk(endpoint(port))
            await talk.ask("x")
            async with asyncio.timeout(LONG_S):
                while talk.client._free[0].open:
                    await asyncio.sleep(0.01)
            found = await talk.ask("x")
            assert (found.status, found.reopened, server.connections) == (COMPLETED, False, 2)
            talk.client.close()

    run(main)


def test_nobody_listens() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            talk = Talk(endpoint(port), retries=2)
            found = await talk.ask("x")
            assert (found.status, found.attempts, found.started_s) == (FAILED, 3, None)
            assert found.error == f"127.0.0.1:{port} refused the connection"
            with pytest.raises(ConnectionRefusedError):
                await talk.client.warm(1)
            talk.client.close()

    run(main)


def test_retries_are_off_unless_asked_for_and_are_counted(server: tuple[int, Server]) -> None:
    async def main() -> None:
        once, thrice = Talk(endpoint(server[0])), Talk(endpoint(server[0]), retries=2)
        assert (await once.ask("500")).attempts == 1
        assert (await thrice.ask("500")).attempts == 3
        assert (await thrice.ask("fine")).attempts == 1
        assert thrice.client.retried == 2
        once.client.close()
        thrice.client.close()

    run(main)


def test_cancelling_ends_everything_and_keeps_what_had_come(server: tuple[int, Server]) -> None:
    async def main() -> None:
        talk = Talk(endpoint(server[0]))
        for mode in ("hang", "hang-inside", "hang"):
            talk.send(mode)
        async with asyncio.timeout(LONG_S):
            while not any(flight.reply and flight.reply.token_times_s for flight in talk.client._flights):
                await asyncio.sleep(0.005)
        talk.client.cancel_all()
        ended = dict(await talk.all())
        assert {found.status for found in ended.values()} == {CANCELLED}
        assert len(ended[1].token_times_s) == 1
        assert talk.client.in_flight == 0
        talk.send("fine")
        talk.client.close()  # before it has even got a connection
        assert (await talk.all())[-1][1].status == CANCELLED

    run(main)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    modes=st.lists(st.sampled_from(sorted(MODES)), min_size=1, max_size=20),
    warm=st.integers(0, 3),
    retries=st.integers(0, 2),
    cancelled=st.booleans(),
)
def test_every_request_is_accounted_for(
    server: tuple[int, Server], modes: list[str], warm: int, retries: int, cancelled: bool
) -> None:
    async def main() -> None:
        talk = Talk(endpoint(server[0]), timeout_s=0.1, retries=retries)
        await talk.client.warm(warm)
        for mode in modes:
            talk.send(mode)
        if cancelled:
            await asyncio.sleep(0.01)
            talk.client.cancel_all()
        ended = await talk.all()
        assert sorted(index for index, _ in ended) == list(range(len(modes)))
        assert all(found.status in ENDS and (found.status == COMPLETED) == (found.error == "") for _, found in ended)
        assert talk.client.in_flight == 0
        talk.client.close()
        await asyncio.sleep(0.01)
        assert len(talk.ended) == len(modes)

    run(main)


def test_the_key_is_sent_and_never_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, server: tuple[int, Server]
) -> None:
    key = "sk-very-secret-0123"
    monkeypatch.setenv("LMBENCH_TEST_KEY", key)
    caplog.set_level(logging.DEBUG)
    target = endpoint(server[0], key="LMBENCH_TEST_KEY")

    async def main() -> None:
        talk = Talk(target)
        found = await talk.ask("echo")
        assert "Authorization: Bearer ***" in found.error
        assert (await talk.ask("fine")).status == COMPLETED
        for thing in (found, target, talk.client, *talk.client._free):
            assert key not in repr(thing)
        talk.client.close()

    run(main)
    assert any(key.encode() in call.head for call in server[1].calls)
    assert key not in caplog.text


def test_a_missing_key_is_noticed_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LMBENCH_TEST_KEY", raising=False)

    async def main() -> None:
        with pytest.raises(Unavailable, match="LMBENCH_TEST_KEY"):
            Talk(endpoint(1, key="LMBENCH_TEST_KEY"))

    run(main)


def test_tls_is_verified_unless_it_is_told_not_to(tmp_path: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed; it makes the test's certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main() -> None:
        with serving(Options(), context) as (port, _):
            url = f"https://127.0.0.1:{port}"
            strict, trusting = Endpoint(url=url, model="m"), Endpoint(url=url, model="m", ca_file=str(certificate))
            lax = Endpoint(url=url, model="m", verify_tls=False)
            for target, status in ((strict, FAILED), (trusting, COMPLETED), (lax, COMPLETED)):
                talk = Talk(target)
                found = await talk.ask("latency")
                assert found.status == status, found
                assert ("TLS" in found.error) == (status == FAILED)
                talk.client.close()

    run(main)
