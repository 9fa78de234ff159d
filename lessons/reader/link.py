"""Lines of JSON on a socket, between the kernel of a notebook and its ranks."""

import json
import socket
import threading
from typing import Any


class Link:
    """One end. What is sent by several threads does not mix."""

    def __init__(self, end: socket.socket) -> None:
        self.end, self.rest = end, b""
        self.lock = threading.Lock()

    def fileno(self) -> int:
        """For a selector."""
        return self.end.fileno()

    def send(self, **message: Any) -> None:
        """OSError if the other end is gone."""
        with self.lock:
            self.end.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """All that has come, at least a part of one message: the list may be empty. EOFError at the end."""
        try:
            data = self.end.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        *whole, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in whole]

    def close(self) -> None:
        self.end.close()
