"""WebSocket: a small server; every client gets the header on connection, then every record."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.sinks.messages.address import Address, resolved
from streamparts.sinks.messages.backlog import Backlog
from streamparts.sinks.messages.encoding import Message, MessageEncoding
from streamparts.threads import DaemonThread
from streamparts.tracksfile.recording import Recording

DEPTH = 8
"""Frames queued for a slow client; then the oldest is dropped, for that client only."""
_MAX_INCOMING_BYTES = 1024
"""Maximum size of a client's message, which is discarded; larger ones disconnect the client."""
_FLUSH_SECONDS = 0.3
_CLOSE_SECONDS = 0.4
_LOGGER = logging.getLogger("streamparts.websocket")
_LOGGER.addHandler(logging.NullHandler())  # otherwise a faulty client would fill the user's stderr


class WebsocketSender:
    """The server has its own thread, and every client a task in it."""

    listens = True

    def __init__(self, address: Address, recording: Recording) -> None:
        """Raises VideoError if it cannot listen there."""
        self._encoding = MessageEncoding(address, recording)
        self._greeting = self._encoding.greeting()
        self._clients: dict[ServerConnection, _Client] = {}
        self._connections: WeakSet[ServerConnection] = WeakSet()  # including those before the handshake
        self._missed_before = 0
        family, numeric = resolved(address, "tcp")
        try:
            listener = socket.create_server(numeric, family=family)
        except OSError as error:
            raise VideoError(f"{address}: cannot listen there ({os.strerror(error.errno or 0)})") from error
        self.address = address.at(listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = DaemonThread("websocket", partial(self._work, listener))

    @property
    def num_missed(self) -> int:
        """Frames that slow clients missed."""
        return self._missed_before + sum(client.backlog.num_lost for client in list(self._clients.values()))

    def announce(self) -> None:
        """Does nothing: each client gets the header on connection."""

    def send(self, tracks: Tracks) -> str | None:
        messages = self._encoding.messages(tracks)
        self._loop.call_soon_threadsafe(self._publish, messages, self._encoding.greeting())
        return None

    def close(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.ends()

    # The methods below run in the loop's thread.

    def _work(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_until_the_end(listener))

    async def _serve_until_the_end(self, listener: socket.socket) -> None:
        server = await serve(
            self._serve,
            sock=listener,
            compression=None,  # costs more time than the network saves
            max_size=_MAX_INCOMING_BYTES,
            close_timeout=_CLOSE_SECONDS,
            logger=_LOGGER,
            server_header=None,
            create_connection=self._connection,  # type: ignore[arg-type]  # a function will do as well
        )
        await self._ending.wait()
        await self._close(server)

    def _connection(self, *args: Any, **options: Any) -> ServerConnection:
        connection = ServerConnection(*args, **options)
        self._connections.add(connection)
        return connection

    def _publish(self, messages: list[Message], greeting: list[Message]) -> None:
        self._greeting = greeting
        for client in self._clients.values():
            client.backlog.put(messages)
            client.idle.clear()
            client.changed.set()

    async def _serve(self, connection: ServerConnection) -> None:
        client = self._clients[connection] = _Client()
        sending = asyncio.create_task(self._send_all(connection, client, self._greeting))
        try:
            async for _ in connection:  # discarded; ends when the client disconnects
                pass
        except ConnectionClosed:
            pass
        finally:
            sending.cancel()
            self._missed_before += self._clients.pop(connection).backlog.num_lost

    async def _send_all(self, connection: ServerConnection, client: _Client, messages: list[Message]) -> None:
        """Send `messages`, and then everything that is queued."""
        with suppress(ConnectionClosed):
            while True:
                for _, data in messages:
                    await connection.send(data, text=self._encoding.is_text)
                if not client.backlog:
                    client.idle.set()
                    client.changed.clear()
                    await client.changed.wait()
                messages = client.backlog.take() or []

    async def _close(self, server: Server) -> None:
        """Allow every client a moment to receive its queue and a closing handshake; then disconnect it."""
        server.close(close_connections=False)
        clients = dict(self._clients)
        await _at_most(_FLUSH_SECONDS, [client.idle.wait() for client in clients.values()])
        await _at_most(_CLOSE_SECONDS, [connection.close(1001) for connection in clients])
        for connection in self._connections:
            connection.transport.abort()
        await _at_most(0.1, [server.wait_closed()])


class _Client:
    """Queue of one client."""

    def __init__(self) -> None:
        self.backlog: Backlog[list[Message]] = Backlog(DEPTH, _keep_gaps_and_segments)
        self.changed = asyncio.Event()
        self.idle = asyncio.Event()
        """True once everything has been sent."""


def _keep_gaps_and_segments(left_out: list[Message], following: list[Message]) -> list[Message]:
    """Frames may be dropped; gaps and segments may not."""
    return [message for message in left_out if message.kind != "frame"] + following


async def _at_most(seconds: float, what: list[Coroutine[None, None, object]]) -> None:
    """Wait for all, up to a limit; unfinished ones are cancelled."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*what, return_exceptions=True), seconds)


open_sender = WebsocketSender
