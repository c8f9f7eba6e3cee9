"""A TCP proxy before PostgreSQL, which can cut the connections of one application, loudly or silently."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from local.postgres import HOST

# A client then sends its startup packet first of all, in which its name can be read.
IN_THE_CLEAR = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


@dataclass
class Proxy:
    """`target` is a port, and may change: new connections go there. `broken` and `silent` are application
    names whose connections are closed and refused, or kept open while all that comes is swallowed. `asked`
    counts by application how often something came of it."""

    target: int
    broken: str = ""
    silent: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    _links: list[tuple[str, socket.socket, socket.socket]] = field(default_factory=list)
    _frozen: set[socket.socket] = field(default_factory=set)

    def __enter__(self) -> Self:
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut(None)

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        return variables | IN_THE_CLEAR | {"PGPORT": str(self.port)}

    def cut(self, name: str | None) -> None:
        """Closes what is open of an application, or everything."""
        for linked, *ends in list(self._links):
            if name in (None, linked):
                for end in ends:
                    close(end)

    def freeze(self) -> None:
        """What is open now is swallowed from now on, of everybody; new connections are not."""
        self._frozen |= {end for _, *ends in list(self._links) for end in ends}

    def count(self, name: str) -> int:
        """How many connections of an application there are."""
        return sum(linked == name for linked, *_ in list(self._links))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._link, args=(client,), daemon=True).start()

    def _link(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            startup = read_startup(client)
            name = application_name(startup)
            if name == self.broken:
                return
            with socket.create_connection((HOST, self.target)) as server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = (name, client, server)
                self._links.append(link)
                back = threading.Thread(target=self._pass, args=(name, server, client), daemon=True)
                back.start()
                if self.silent != name:
                    server.sendall(startup)
                self._pass(name, client, server, self.asked)
                back.join()
                self._links.remove(link)

    def _pass(
        self, name: str, source: socket.socket, sink: socket.socket, counts: Counter[str] | None = None
    ) -> None:
        with suppress(OSError):
            while content := source.recv(65_536):
                if counts is not None:
                    counts[name] += 1
                if self.silent != name and source not in self._frozen:
                    sink.sendall(content)
        for end in (source, sink):
            close(end)


def close(end: socket.socket) -> None:
    """Whoever waits for it wakes up."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def read_startup(client: socket.socket) -> bytes:
    head = client.recv(4, socket.MSG_WAITALL)
    return head + client.recv(int.from_bytes(head) - 4, socket.MSG_WAITALL)


def application_name(startup: bytes) -> str:
    """From pairs of names and values, each ended by a zero byte."""
    words = startup[8:].split(b"\0")
    return dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
