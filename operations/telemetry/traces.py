"""Calls as OpenTelemetry spans, sent in batches by a thread to one collector.

No global provider is set: libraries with their own tracing, including Pipecat, find none, so that
their spans, which may hold texts, go nowhere.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    BargedIn,
    CallEnded,
    CallerStopped,
    CallStarted,
    Event,
    TurnDecided,
    TurnEnded,
)
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    HeldTheLine,
    RungChosen,
    StageExhausted,
)
from operations.masking import clean

# The spans of a call: the call, its turns, its attempts; without callers' words.
#
# A turn's span lasts from the caller's last sound to the end of the answer. An attempt's span lasts
# from its start to its first useful content, its failure, or its cancellation. Spans of a turn are
# its children; all others are the call's children.

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

AttemptOver: TypeAlias = AttemptWon | AttemptFailed | AttemptDropped

CALL, TURN, ATTEMPT = "call", "turn", "attempt"


@dataclass(slots=True, kw_only=True, eq=False)
class OpenSpan:
    """A span that may still be open, compared by identity; seconds since 1970.

    Attributes:
        moments: The events within it: name, time, attributes.
        begun: OpenTelemetry's span; `None` until it or one below it ends.
    """

    name: str
    began_s: float
    parent: "OpenSpan | None"
    ended_s: float | None = None
    failed: bool = False
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    moments: list[tuple[str, float, Attributes]] = field(default_factory=list)
    begun: Span | None = None


class CallSpans:
    """The spans of one call; `hear` yields completed ones, a child before its parent."""

    def __init__(self, call_id: str, began_s: float) -> None:
        self.call = OpenSpan(name=CALL, began_s=began_s, parent=None)
        self.call.attributes["holdline.call_id"] = call_id
        self._turn: OpenSpan | None = None
        self._attempts: dict[int, OpenSpan] = {}

    def hear(self, event: Event, at_s: float) -> Iterator[OpenSpan]:
        """Process one event."""
        match event:
            case CallStarted():
                self.call.attributes.update(
                    {"holdline.transport": event.transport, "holdline.agent": event.agent}
                )
            case CallerStopped() | TurnDecided() | AnswerHeard() | TurnEnded():
                yield from self._hear_turn(event, at_s)
            case AttemptStarted():
                self._begin_attempt(event, at_s)
            case AttemptWon() | AttemptFailed() | AttemptDropped():
                yield self._end_attempt(event, at_s)
            case CallEnded():
                yield from self._end(event, at_s)
            case _:
                self._note(event, at_s)

    def _hear_turn(
        self, event: CallerStopped | TurnDecided | AnswerHeard | TurnEnded, at_s: float
    ) -> Iterator[OpenSpan]:
        match event:
            case CallerStopped():
                began_s = at_s - (event.noticed_at_s - event.at_s)
                if self._turn and "holdline.turn" in self._turn.attributes:
                    yield from self._end_turn(at_s)
                if self._turn is None:
                    self._turn = OpenSpan(name=TURN, began_s=began_s, parent=self.call)
                self._turn.began_s = began_s  # a pause in the middle did not end it
            case TurnDecided():
                self._turn_at(at_s).attributes["holdline.turn"] = event.turn
            case AnswerHeard():
                parts = {f"holdline.{name}": value for name, value in asdict(event.parts).items()}
                self._turn_at(at_s).attributes.update({"holdline.v2v_s": event.v2v_s, **parts})
            case TurnEnded():
                self._turn_at(at_s).attributes["holdline.interrupted"] = event.interrupted
                yield from self._end_turn(at_s)

    def _turn_at(self, at_s: float) -> OpenSpan:
        if self._turn is None:
            self._turn = OpenSpan(name=TURN, began_s=at_s, parent=self.call)
        return self._turn

    def _end_turn(self, at_s: float) -> Iterator[OpenSpan]:
        turn, self._turn = self._turn, None
        if turn:
            turn.ended_s = at_s
            yield turn

    def _begin_attempt(self, event: AttemptStarted, at_s: float) -> None:
        attempt = self._attempt(event.stage, event.provider, event.attempt, at_s)
        attempt.attributes["holdline.extra"] = event.extra
        self._attempts[event.attempt] = attempt

    def _attempt(self, stage: str, provider: str, number: int, began_s: float) -> OpenSpan:
        attributes = {
            "holdline.stage": stage,
            "holdline.provider": provider,
            "holdline.attempt": number,
        }
        parent = self._turn or self.call
        return OpenSpan(name=ATTEMPT, began_s=began_s, parent=parent, attributes=attributes)

    def _end_attempt(self, event: AttemptOver, at_s: float) -> OpenSpan:
        attempt = self._attempts.pop(event.attempt, None)
        if attempt is None:  # it had already won, or its start was not reported
            began_s = at_s - getattr(event, "after_s", 0.0)
            attempt = self._attempt(event.stage, event.provider, event.attempt, began_s)
        attempt.ended_s = at_s
        attempt.failed = isinstance(event, AttemptFailed)
        attempt.attributes.update(_outcome(event))
        return attempt

    def _end(self, event: CallEnded, at_s: float) -> Iterator[OpenSpan]:
        for attempt in self._attempts.values():
            attempt.ended_s = at_s
            attempt.attributes["holdline.outcome"] = "call_ended"
            yield attempt
        self._attempts.clear()
        yield from self._end_turn(at_s)
        self.call.ended_s = at_s
        self.call.failed = event.reason == "failed"
        self.call.attributes["holdline.reason"] = event.reason
        yield self.call

    def _note(self, event: Event, at_s: float) -> None:
        fields = NOTED.get(type(event))
        if fields is None:
            return
        attributes = {f"holdline.{item}": getattr(event, item) for item in fields}
        (self._turn or self.call).moments.append((type(event).__name__, at_s, attributes))


def _outcome(event: AttemptOver) -> Attributes:
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


NOTED: Final[Mapping[type, tuple[str, ...]]] = {
    RungChosen: ("stage", "before", "after", "cause"),
    HeldTheLine: ("utterance", "after_s"),
    StageExhausted: ("stage", "attempts"),
    BargedIn: (),
}
"""The events within a span, with those of their fields that hold no words."""


def seconds_of(entry: Entry) -> float:
    """Return an entry's time, in seconds since 1970."""
    return datetime.fromisoformat(entry.at).timestamp()


QUEUE_SPANS: Final = 4_096  # if the collector is down: the oldest are dropped
BATCH_SPANS: Final = 512
SEND_EVERY_S: Final = 2.0
SEND_S: Final = 5.0  # for one batch, including its retries
CLOSE_S: Final = 5.0


class Traces:
    """Creates and sends the calls' spans; a call is known only from its start on."""

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
        """Process one entry; sends nothing by itself."""
        at_s = seconds_of(entry)
        if isinstance(entry.event, CallStarted):
            self._calls[entry.call_id] = CallSpans(entry.call_id, at_s)
        spans = self._calls.get(entry.call_id)
        if spans is None:
            return
        for span in spans.hear(entry.event, at_s):
            self._end(span)
        if isinstance(entry.event, CallEnded):
            del self._calls[entry.call_id]

    async def close(self) -> None:
        """Send the rest, within the time limit."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            pass  # spans are no record: what a collector does not accept in time is lost

    def _end(self, span: OpenSpan) -> None:
        told = self._begin(span)
        for name, at_s, attributes in span.moments:
            told.add_event(name, clean(attributes), timestamp=_ns(at_s))
        told.set_attributes(clean(span.attributes))
        if span.failed:
            told.set_status(Status(StatusCode.ERROR))
        told.end(_ns(span.ended_s or span.began_s))

    def _begin(self, span: OpenSpan) -> Span:
        """Return the OpenTelemetry span, after those of its parents, which end later."""
        if span.begun is None:
            above = set_span_in_context(self._begin(span.parent)) if span.parent else None
            start = self._tracer.start_span
            span.begun = start(span.name, above, start_time=_ns(span.began_s))
        return span.begun


def _ns(at_s: float) -> int:
    return round(at_s * 1e9)
