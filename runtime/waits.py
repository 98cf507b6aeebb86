"""Waits of libraries that are cancelled."""

from asyncio import CancelledError
from contextlib import suppress


def keep_cancellations_plain() -> None:
    """Let waits of libraries raise `CancelledError` itself when they are cancelled.

    On Python 3.11 Pipecat replaces `asyncio.wait_for` by that of `wait_for2`. If what it waits for
    is done just as it is cancelled, it raises a subclass. `asyncio.timeout` does not take that for
    its own, so a task would end without a word; in a `TaskGroup` it is a failure.
    """
    with suppress(ModuleNotFoundError):  # on newer Pythons it is not installed
        from wait_for2 import impl  # noqa: PLC0415 - as above

        impl.CancelledWithResultError = CancelledError
