"""The connection between the supervisor and a worker: one JSON message per line, both ways."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

from loguru import logger

from transports.pool import ASK_PROCESS_S, Answer

LINE_BYTES: Final = 4 * 1024 * 1024  # of a message; the resume state of a long call has about 20 kB
UNREAD_BYTES: Final = 8 * 1024 * 1024  # a process that leaves this much unread must be hanging
WAIT_PARTS: Final = 8  # of the wait for a reply: a stall of our own loop uses up only one of them

Handler = Callable[[Mapping[str, Any]], None]


class WireError(Exception):
    """The other end does not answer, or answered with an error."""


class Wire:
    """One end of the connection. `run` reads until the other end is gone."""

    def __init__(self, own: socket.socket | None = None) -> None:
        """Use `own`, one of a connected pair of sockets; if `None`, set it before `run`."""
        self.own = own
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._handlers: dict[str, Handler] = {}
        self._answers: dict[str, Answer] = {}
        self._revocable_names: set[str] = set()
        self._answer_tasks: set[asyncio.Task[None]] = set()
        self._revocable: dict[int, asyncio.Task[None]] = {}  # by the other end's number
        self.open = asyncio.Event()
        self.gone = asyncio.Event()

    def on(self, what: str, handler: Handler) -> None:
        """Register the handler of a message, in place of an earlier one; its errors are logged."""
        self._handlers[what] = handler

    def answer(self, what: str, answer: Answer, *, revocable: bool = False) -> None:
        """Register the handler of a request.

        Args:
            what: The name of the request.
            answer: Called with the request; returns the reply. What it raises becomes a `WireError`
                at the other end.
            revocable: Whether to cancel `answer` when the other end stops waiting for the reply.
        """
        self._answers[what] = answer
        if revocable:
            self._revocable_names.add(what)

    def send(self, what: str, /, **fields: Any) -> bool:
        """Queue a message for sending, without a wait.

        Returns False if it is too long, before `run`, or if the other end is gone or reads nothing.
        """
        return self._queue_message({**fields, "tell": what})

    async def ask(self, what: str, /, *, within_s: float = ASK_PROCESS_S, **fields: Any) -> Any:
        """Send a request and return the reply.

        When the wait ends without one, also by cancellation, the request is revoked.

        Raises:
            WireError: The other end is gone, has replied with an error, or does not reply in time.
        """
        number = next(self._numbers)
        answered = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            if not self._queue_message({**fields, "ask": what, "number": number}):
                raise WireError(f"{what} cannot be asked: the other end is gone, or it is too long")
            for _ in range(WAIT_PARTS):
                if (await asyncio.wait([answered], timeout=within_s / WAIT_PARTS))[0]:
                    return answered.result()
            raise WireError(f"no answer to {what} within {within_s:g} s")
        finally:
            del self._pending[number]
            if answered.cancel():  # no reply yet: the other end need not go on
                self._queue_message({"revoke": number})

    async def run(self) -> None:
        """Read messages until the other end is gone; then cancel the answers, and close."""
        reader, self._writer = await asyncio.open_connection(sock=self.own, limit=LINE_BYTES)
        self.open.set()
        try:
            async with asyncio.TaskGroup() as answering:
                while line := await _read_line(reader):
                    self._handle_received(_parse_line(line), answering)
                for item in tuple(self._answer_tasks):  # their replies would reach no one
                    item.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; pending requests fail with `WireError`."""
        self.gone.set()
        if self._writer:
            self._writer.close()
        elif self.own:
            self.own.close()
        for item in self._pending.values():
            if not item.done():
                item.set_exception(WireError("the other end is gone"))

    def _queue_message(self, message: Mapping[str, Any]) -> bool:
        """Queue a message for sending; return False if the other end is gone or does not read it.

        A message that is too long is not sent: the other end would close the connection.
        """
        writer = self._writer
        if writer is None or writer.is_closing():
            return False
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES:
            return False
        line = json.dumps(message, default=str).encode() + b"\n"
        if len(line) > LINE_BYTES:
            name = message.get("tell") or message.get("ask") or "a reply"
            logger.error("{} is not sent to the other process: {} bytes", name, len(line))
            return False
        writer.write(line)
        return True

    def _handle_received(self, message: Any, answering: asyncio.TaskGroup) -> None:
        """Handle a message, a request, the revocation of a request, or a reply."""
        match message:
            case {"tell": str(what)}:
                self._run_handler(what, message)
            case {"ask": str(what), "number": int(number)}:
                task = answering.create_task(self._send_reply(what, message), name=f"answer {what}")
                self._answer_tasks.add(task)
                task.add_done_callback(self._answer_tasks.discard)
                if what in self._revocable_names:
                    self._revocable[number] = task
                    task.add_done_callback(lambda _: self._revocable.pop(number))
            case {"revoke": int(number)}:
                if task := self._revocable.get(number):
                    task.cancel()
            case {"number": int(number)}:
                waiting = self._pending.get(number)
                if waiting and not waiting.done():
                    _set_result(waiting, message)
            case _:
                logger.error("an unknown message between supervisor and worker")

    def _run_handler(self, what: str, message: Mapping[str, Any]) -> None:
        """Call the handler of a message, if there is one; its error is logged and not raised."""
        try:
            if handler := self._handlers.get(what):
                handler(message)
        except Exception as broken:  # noqa: BLE001 - all calls of a worker need the connection
            logger.opt(exception=broken).error("the handler of message {} failed", what)

    async def _send_reply(self, what: str, message: Mapping[str, Any]) -> None:
        """Send the reply to a request, or an error if there is none or it is too long."""
        answer, number = self._answers.get(what), message["number"]
        try:
            reply = {"is": await answer(message)} if answer else {"error": f"{what} is not known"}
            if self._queue_message({"number": number, **reply}):
                return
            error = "the reply is too long"
        except Exception as broken:  # noqa: BLE001 - one request must not end the connection
            error = f"{type(broken).__name__}: {broken}"
        self._queue_message({"number": number, "error": error})


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """Return the next complete line; empty if the other end is gone."""
    try:
        line = await reader.readline()
    except (OSError, ValueError):  # the other end was killed, or the line exceeds `LINE_BYTES`
        return b""
    return line if line.endswith(b"\n") else b""


def _parse_line(line: bytes) -> Any:
    """Return a line as JSON; `None` if it is not."""
    try:
        return json.loads(line)
    except ValueError:  # an unreadable message must not end the connection
        return None


def _set_result(waiting: asyncio.Future[Any], message: Mapping[str, Any]) -> None:
    """End the wait for a reply, with its value or with its error as a `WireError`."""
    if "error" in message:
        waiting.set_exception(WireError(str(message["error"])))
    else:
        waiting.set_result(message.get("is"))
