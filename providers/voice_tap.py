"""What a voice's socket says, told to its stage: whose attempt it is, and how it failed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidStatus

from calls.voice import VoiceEar
from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_message,
    classify_symptom,
)
from fallbacks.failure import Failure, Finding, failed
from fallbacks.retry_after import retry_after_s
from fallbacks.symptoms import Moment, Symptom

GONE: Final = 1006  # RFC 6455 section 7.1.5: closed without a close frame


@dataclass(slots=True)
class VoiceContext:
    """What the provider speaks now."""

    name: str
    attempt: int
    flowing: bool = False


class VoiceTap:
    """Knows the context that is spoken, and makes a failure of what ends it.

    Attributes:
        context: What is spoken now.
    """

    def __init__(self, rung_name: str, *, kind: str) -> None:
        """Prepare.

        Args:
            rung_name: Whose failures these are.
            kind: The provider, as the tables of symptoms call it.
        """
        self.context: VoiceContext | None = None
        self._rung_name = rung_name
        self._kind = kind
        self._dismissed: object = None  # the socket that said its last word: its closing is no news

    def open_context(self, name: object) -> VoiceContext | None:
        """Return the context of this name if it is the one that is spoken now."""
        return self.context if self.context and self.context.name == name else None

    async def tell_done(self, ear: VoiceEar, context: VoiceContext) -> None:
        """Tell that a context was spoken to its end."""
        self.context = None
        await ear.spoken(context.attempt)

    async def tell_error(
        self,
        ear: VoiceEar,
        message: Mapping[str, Any],
        *,
        name: object = None,
        last: bool = False,
        socket: object = None,
    ) -> None:
        """Tell of an error message.

        Args:
            ear: Whom to tell.
            message: The message.
            name: The context it names; None means the one that is spoken.
            last: The provider closes the socket behind its errors: who asks it for something in
                between would meet the same failure twice.
            socket: The one that it closes then.
        """
        context = self.context if name is None else self.open_context(name)
        if not context:
            return
        found = classify_message(self._kind, message, moment=self._moment)
        self.context = None
        failure = self._failure(found, "an error in the stream")
        if last:
            self._dismissed = socket
            await ear.lost(failure)
        else:
            await ear.failed(context.attempt, failure)

    async def tell_garbage(self, ear: VoiceEar, error: Exception) -> None:
        """Tell of a message that cannot be read, if anything is spoken."""
        if self.context:
            context, self.context = self.context, None
            found = classify_symptom(Symptom.GARBAGE)
            await ear.failed(context.attempt, self._failure(found, type(error).__name__))

    async def tell_closed(self, ear: VoiceEar, closed: ConnectionClosed, *, socket: object) -> None:
        """Tell that a socket closed, unless that was told with its last error."""
        if socket is self._dismissed:
            return
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (GONE, "")
        found = classify_close(self._kind, code, reason, moment=self._moment)
        self.context = None
        await ear.lost(None if found.harmless else self._failure(found, f"closed with {code}"))

    async def tell_unreachable(self, ear: VoiceEar, error: Exception) -> None:
        """Tell that no socket could be had."""
        await ear.unreachable(self._refusal(error))

    @property
    def _moment(self) -> Moment:
        if self.context is None:
            return Moment.IDLE
        return Moment.FLOWING if self.context.flowing else Moment.ASKED

    def _refusal(self, error: Exception) -> Failure:
        if not isinstance(error, InvalidStatus):
            return self._failure(classify_error(error), type(error).__name__)
        answer = error.response
        try:
            body = json.loads(answer.body or b"")
        except ValueError:
            body = None
        return failed(
            classify_http(self._kind, answer.status_code, body),
            "tts",
            provider=self._rung_name,
            reason=f"{answer.status_code} at the upgrade",
            retry_after_s=retry_after_s(dict(answer.headers.raw_items())),
        )

    def _failure(self, found: Finding, reason: str) -> Failure:
        return failed(found, "tts", provider=self._rung_name, reason=reason)
