"""A TCP proxy that cuts, swallows and slows: what stands between machines, on one machine."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Listens on a port of its own and passes all on to another, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._refuse_until = self._swallow_until = self._slow_until = 0.0
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> None:
        """Reset every connection, and take none for a while."""
        self._refuse_until = time.monotonic() + seconds
        for pair in list(self._pairs):
            self._drop(pair)

    def swallow(self, seconds: float) -> None:
        """Keep connections open and pass nothing: a half-open line."""
        self._swallow_until = time.monotonic() + seconds

    def slow(self, seconds: float) -> None:
        """Pass a few kilobytes a second."""
        self._slow_until = time.monotonic() + seconds

    def close(self) -> None:
        self._closed = True
        self._server.close()
        for pair in list(self._pairs):
            self._drop(pair)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if time.monotonic() < self._refuse_until:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            pair = (near, far)
            self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        try:
            while True:
                slow = time.monotonic() < self._slow_until
                data = source.recv(512 if slow else 65536)
                if not data:
                    break
                while time.monotonic() < self._swallow_until:
                    time.sleep(0.02)
                if slow:
                    time.sleep(0.05)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                end.close()
