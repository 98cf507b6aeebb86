"""Calls as OpenTelemetry's spans: sent in batches by a thread, to one collector.

No provider is made the process' own: libraries that trace by themselves, Pipecat among them, find
none, and what they would tell (texts, among it) goes nowhere.
"""

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from calls.entry import Entry
from calls.events import CallEnded, CallStarted
from operations.masking import clean
from operations.telemetry.spans import CallSpans, OpenSpan, seconds_of

QUEUE_SPANS: Final = 4_096  # of a collector that is away: the oldest go
BATCH_SPANS: Final = 512
SEND_EVERY_S: Final = 2.0
SEND_S: Final = 5.0  # for one batch, its retries included
CLOSE_S: Final = 5.0


class Traces:
    """Listens, and has the spans of calls sent; a call is only known from its start on."""

    def __init__(self, exporter: SpanExporter, *, version: str) -> None:
        """Send by `exporter`; `version` is that of ours which tells."""
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
        # Spans that others stand below, by our own: an attempt may outlast its turn.
        self._begun: WeakKeyDictionary[OpenSpan, Span] = WeakKeyDictionary()

    @classmethod
    def over_http(cls, url: str, *, version: str) -> "Traces":
        """Return one that sends to a collector by OTLP over HTTP."""
        return cls(OTLPSpanExporter(endpoint=url, timeout=SEND_S), version=version)

    async def hear(self, entry: Entry) -> None:
        """Note one entry; nothing is sent meanwhile."""
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
        """Send what is left, for as long as that may take."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            pass  # spans are no record: what a collector does not take in time is lost

    def _end(self, span: OpenSpan) -> None:
        told = self._begin(span)
        for moment in span.moments:
            told.add_event(moment.name, clean(moment.attributes), timestamp=_ns(moment.at_s))
        told.set_attributes(clean(span.attributes))
        if span.failed:
            told.set_status(Status(StatusCode.ERROR))
        told.end(_ns(span.ended_s or span.began_s))

    def _begin(self, span: OpenSpan) -> Span:
        """Return the span as OpenTelemetry knows it, and those above it, which end later."""
        known = self._begun.get(span)
        if known:
            return known
        above = set_span_in_context(self._begin(span.parent)) if span.parent else None
        begun = self._tracer.start_span(span.name, above, start_time=_ns(span.began_s))
        self._begun[span] = begun
        return begun


def _ns(at_s: float) -> int:
    return round(at_s * 1e9)
