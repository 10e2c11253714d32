#!/usr/bin/env python3
"""Stands in for `quarterdeck` in tests/server.rs: it has its flags, prints a
credential, accepts connections, answers /metrics, and ends on SIGTERM. With
`--fail` it ends at once, as on a bad flag."""

import http.server
import os
import signal
import socket
import sys
import threading


def value(flag):
    return sys.argv[sys.argv.index(flag) + 1]


def address(flag):
    host, port = value(flag).rsplit(":", 1)
    return host, int(port)


class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"fake_starts_total 1\n")

    def log_message(self, *_):
        pass


def end(*_):
    print("drained", flush=True)
    os._exit(0)


if "--fail" in sys.argv:
    sys.exit("error: no such thing as --fail")
assert not any(name.startswith("QUARTERDECK_") for name in os.environ), "the developer's settings leak in"
signal.signal(signal.SIGTERM, end)
metrics = http.server.HTTPServer(address("--metrics-listen"), Metrics)
threading.Thread(target=metrics.serve_forever, daemon=True).start()
listener = socket.create_server(address("--listen"))
if sys.argv[1] == "dev":
    print(f"credential: qd_bootstrap_{os.getpid()}", flush=True)
else:
    for flag in ("--bootstrap-secret-file", "--key-pepper-file"):
        assert os.stat(value(flag)).st_mode & 0o077 == 0, flag
    print("serving on " + value("--listen"), file=sys.stderr, flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello")
    connection.close()
