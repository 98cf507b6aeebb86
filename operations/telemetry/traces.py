"""Sends calls as OpenTelemetry spans to one collector, in batches, from a thread.

No global provider is set, so that libraries with their own tracing, including Pipecat, send no
spans: these may contain texts.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Final, TypeAlias

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    BargedIn,
    CallEnded,
    CallerStopped,
    CallMoved,
    CallStarted,
    Event,
    TurnDecided,
    TurnEnded,
)
from calls.known_calls import MAX_LIVE
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    HeldTheLine,
    RungChosen,
    StageExhausted,
)
from operations.masking import clean

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

AttemptOver: TypeAlias = AttemptWon | AttemptFailed | AttemptDropped


class CallSpans:
    """The open spans of one call, its turns and its attempts, without callers' words.

    A turn's span lasts from the caller's last sound to the end of the answer. An attempt's span
    lasts from its start to its first useful content, its failure, or its cancellation. Spans within
    a turn are children of the turn's; all others are the call's children. Moments are in seconds
    since 1970.
    """

    def __init__(self, tracer: Tracer, call_id: str, started: CallStarted, at_s: float) -> None:
        self._tracer = tracer
        attributes = {
            "holdline.call_id": call_id,
            "holdline.transport": started.transport,
            "holdline.agent": started.agent,
        }
        self._call = self._start_span("call", at_s, attributes)
        self._turn: Span | None = None
        self._stopped_s: float | None = None  # the caller's last sound in this turn
        self._is_decided = False
        self._attempts: dict[int, Span] = {}

    def hear(self, event: Event, at_s: float) -> None:
        """Process one event."""
        match event:
            case CallerStopped() | TurnDecided() | AnswerHeard() | TurnEnded():
                self._hear_turn(event, at_s)
            case AttemptStarted():
                self._attempts[event.attempt] = self._start_attempt(event, at_s)
                self._attempts[event.attempt].set_attribute("holdline.extra", event.extra)
            case AttemptWon() | AttemptFailed() | AttemptDropped():
                self._end_attempt(event, at_s)
            case CallEnded() | CallMoved():
                self._end_call(event, at_s)
            case _ if (fields := SPAN_EVENTS.get(type(event))) is not None:
                attributes = {f"holdline.{item}": getattr(event, item) for item in fields}
                name = type(event).__name__
                self._current_span().add_event(
                    name, clean(attributes), timestamp=_nanoseconds(at_s)
                )
            case _:
                pass

    def _hear_turn(
        self, event: CallerStopped | TurnDecided | AnswerHeard | TurnEnded, at_s: float
    ) -> None:
        """Create, describe or end the turn's span.

        A turn that is decided ends with its answer, or with the caller's next stop.
        """
        match event:
            case CallerStopped():
                if self._is_decided:  # else it was a pause in the middle of the turn
                    self._end_turn(at_s)
                self._stopped_s = at_s - (event.noticed_at_s - event.at_s)
            case TurnDecided():
                self._is_decided = True
                self._turn_at(at_s).set_attribute("holdline.turn", event.turn)
            case AnswerHeard():
                parts = {f"holdline.{name}": value for name, value in asdict(event.parts).items()}
                self._turn_at(at_s).set_attributes({"holdline.v2v_s": event.v2v_s, **parts})
            case TurnEnded():
                self._turn_at(at_s).set_attribute("holdline.interrupted", event.interrupted)
                self._end_turn(at_s)

    def _current_span(self) -> Span:
        """Return the span that current events belong to: the turn's, or the call's."""
        return self._call if self._stopped_s is None else self._turn_at(self._stopped_s)

    def _turn_at(self, at_s: float) -> Span:
        """Return the turn's span, created if there is none.

        It begins with the caller's last sound, or at `at_s` if the caller made none.
        """
        if self._stopped_s is None:
            self._stopped_s = at_s
        if self._turn is None:
            self._turn = self._start_span("turn", self._stopped_s, {}, parent=self._call)
        return self._turn

    def _end_turn(self, at_s: float) -> None:
        """End the span of the turn, if one has begun, and forget the turn."""
        if self._stopped_s is not None:
            self._turn_at(at_s).end(_nanoseconds(at_s))
        self._turn, self._stopped_s, self._is_decided = None, None, False

    def _start_attempt(self, event: AttemptStarted | AttemptOver, began_s: float) -> Span:
        """Start the span of an attempt, inside that of the turn, or else of the call."""
        attributes = {
            "holdline.stage": event.stage,
            "holdline.provider": event.provider,
            "holdline.attempt": event.attempt,
        }
        return self._start_span("attempt", began_s, attributes, parent=self._current_span())

    def _end_attempt(self, event: AttemptOver, at_s: float) -> None:
        """End an attempt's span; a failure after it has won gets a span of its own."""
        attempt = self._attempts.pop(event.attempt, None)
        if attempt is None:  # it had already won, or its start was not reported
            attempt = self._start_attempt(event, at_s - getattr(event, "after_s", 0.0))
        attempt.set_attributes(clean(_outcome_attributes(event)))
        if isinstance(event, AttemptFailed):
            attempt.set_status(Status(StatusCode.ERROR))
        attempt.end(_nanoseconds(at_s))

    def _end_call(self, event: CallEnded | CallMoved, at_s: float) -> None:
        """End the call's span, and before it those of its attempts and its turn."""
        for attempt in self._attempts.values():
            attempt.set_attribute("holdline.outcome", "call_ended")
            attempt.end(_nanoseconds(at_s))
        self._attempts.clear()
        self._end_turn(at_s)
        reason = event.reason if isinstance(event, CallEnded) else "moved"
        self._call.set_attributes(clean({"holdline.reason": reason}))
        if reason == "failed":
            self._call.set_status(Status(StatusCode.ERROR))
        self._call.end(_nanoseconds(at_s))

    def _start_span(
        self, name: str, at_s: float, attributes: Attributes, *, parent: Span | None = None
    ) -> Span:
        """Start a span at a moment of our clock; without a parent it begins a trace."""
        context = set_span_in_context(parent) if parent else None
        return self._tracer.start_span(
            name, context, attributes=clean(attributes), start_time=_nanoseconds(at_s)
        )


def _outcome_attributes(event: AttemptOver) -> Attributes:
    """Return how an attempt ended, as attributes of its span."""
    match event:
        case AttemptWon():
            return {"holdline.outcome": "won", "holdline.after_s": event.after_s}
        case AttemptFailed():
            return {
                "holdline.outcome": "failed",
                "holdline.after_s": event.after_s,
                "holdline.failure": str(event.kind),
                "holdline.scope": str(event.scope),
                "holdline.permanent": event.permanent,
                "holdline.heard_words": event.heard_words,
            }
        case AttemptDropped():
            return {"holdline.outcome": "dropped", "holdline.because": event.because}


SPAN_EVENTS: Final[Mapping[type, tuple[str, ...]]] = {
    RungChosen: ("stage", "before", "after", "cause"),
    HeldTheLine: ("utterance", "after_s"),
    StageExhausted: ("stage", "attempts"),
    BargedIn: (),
}
"""Events that are added to a span, and their fields without words."""


QUEUE_SPANS: Final = 4_096  # held while the collector is down; then the oldest are dropped
BATCH_SPANS: Final = 512
SEND_EVERY_S: Final = 2.0
SEND_S: Final = 5.0  # for one batch, including its retries
END_EXPORT_S: Final = 5.0


class Traces:
    """Creates and sends the spans of all calls whose start it sees."""

    def __init__(self, exporter: SpanExporter, *, version: str) -> None:
        """Send through `exporter`; `version` is our own version."""
        self._provider = TracerProvider(
            resource=Resource({"service.name": "holdline", "service.version": version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUE_SPANS,
                max_export_batch_size=BATCH_SPANS,
                schedule_delay_millis=SEND_EVERY_S * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("holdline")
        self._calls: dict[str, CallSpans] = {}

    @classmethod
    def over_http(cls, url: str, *, version: str) -> "Traces":
        """Return an instance that sends to a collector by OTLP over HTTP."""
        return cls(OTLPSpanExporter(endpoint=url, timeout=SEND_S), version=version)

    async def hear(self, entry: Entry) -> None:
        """Process one entry; its spans are sent later, by a thread.

        Entries of calls whose start was not seen are ignored. Above `MAX_LIVE` calls, the oldest is
        forgotten, and its open spans are not sent.
        """
        at_s = datetime.fromisoformat(entry.at).timestamp()
        if isinstance(entry.event, CallStarted):
            self._calls[entry.call_id] = CallSpans(self._tracer, entry.call_id, entry.event, at_s)
            if len(self._calls) > MAX_LIVE:
                del self._calls[next(iter(self._calls))]  # its end was probably lost
        spans = self._calls.get(entry.call_id)
        if spans is None:
            return
        spans.hear(entry.event, at_s)
        if isinstance(entry.event, CallEnded | CallMoved):
            del self._calls[entry.call_id]

    async def close(self) -> None:
        """Send the remaining spans, for at most `END_EXPORT_S`."""
        try:
            async with asyncio.timeout(END_EXPORT_S):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            pass  # spans that the collector does not accept in time are lost


def _nanoseconds(at_s: float) -> int:
    return round(at_s * 1e9)
