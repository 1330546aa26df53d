"""A server that tells its key in every spelling wherever it may say something: its log, its replies, its metrics.

python echoing_server.py PORT NAME-OF-THE-VARIABLE [dies]
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conditions.spellings import spellings

GOOD = 8
"""Requests answered well before the others are refused."""


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    key = os.environ[sys.argv[2]]
    turn = 0

    def do_GET(self) -> None:
        quoted = self.key.replace("\\", "\\\\").replace('"', '\\"')
        text = f'# TYPE requests_total counter\nrequests_total{{key="{quoted}"}} {Handler.turn}\n'
        self._send(200, "text/plain", text.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Handler.turn += 1
        told = list(spellings(self.key).values())
        text = told[Handler.turn % len(told)]
        say(f"asked by {self.headers['Authorization']} {text}\n")
        good = b'data: {"choices": [{"text": "a", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        if Handler.turn <= GOOD:
            self._send(200, "text/event-stream", good)
        elif Handler.turn % 2:
            self._send(401, "application/json", json.dumps({"error": {"message": f"not {text}"}, "key": text}).encode())
        else:
            event = json.dumps({"error": {"message": f"no quota for {text}"}})
            self._send(200, "text/event-stream", f"data: {event}\n\n".encode())

    def log_message(self, *_: object) -> None: ...

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    for name, text in spellings(Handler.key).items():
        say(f"{name}: {text}\n")
    say(f"in two pieces: {Handler.key[:17]}")
    time.sleep(0.1)
    say(f"{Handler.key[17:]}\n")
    if "dies" in sys.argv:
        raise RuntimeError(f"cannot start with {Handler.key}")
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
