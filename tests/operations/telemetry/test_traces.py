"""Calls as spans, at a collector of their own on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    AnswerHeard,
    BargedIn,
    CallEnded,
    CallerStopped,
    CallStarted,
    Event,
    KeyPressed,
    PersonWanted,
    ProviderFailed,
    TranscriptFinal,
    TurnDecided,
    TurnEnded,
    TurnParts,
)
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    HeldTheLine,
    RungChosen,
)
from fallbacks.failure import Kind, Scope
from tests.absent import report_absent

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CANARIES = ("+15551234567", "sk-canary-12345678", "my name is Anna", "we open at nine", "4711")
KEY = "sk-canary-12345678"
PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.1, llm_s=0.2, tts_s=0.2, transport_s=0.1
)


def started(stage: str, provider: str, attempt: int) -> AttemptStarted:
    return AttemptStarted(stage=stage, provider=provider, attempt=attempt, extra=False, left_s=1.0)


def won(stage: str, provider: str, attempt: int, after_s: float) -> AttemptWon:
    return AttemptWon(stage=stage, provider=provider, attempt=attempt, after_s=after_s)


CUT = AttemptFailed(
    stage="llm", provider="openai", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.5, attempt=2,
    reason="sk-canary-12345678 refused: my name is Anna",
)  # fmt: skip
CALL: tuple[tuple[float, Event], ...] = (
    (0.0, CallStarted(transport="twilio", agent="a", caller=CANARIES[0], called=CANARIES[0])),
    (0.1, started("stt", "deepgram", 1)),
    (0.3, won("stt", "deepgram", 1, 0.2)),
    (2.2, CallerStopped(at_s=102.0, noticed_at_s=102.2)),
    (2.3, TranscriptFinal(turn=1, at_s=102.3, provider="deepgram", text=CANARIES[2])),
    (2.4, TurnDecided(turn=1, at_s=102.4)),
    (2.5, started("llm", "openai", 2)),
    (3.0, CUT),
    (3.0, RungChosen(stage="llm", before="openai", after="openai-b", cause="failover")),
    (3.0, started("llm", "openai-b", 3)),
    (3.1, HeldTheLine(turn=1, utterance="one_moment", after_s=1.1)),
    (3.2, won("llm", "openai-b", 3, 0.2)),
    (3.3, AnswerHeard(turn=1, at_s=103.3, v2v_s=1.3, parts=PARTS)),
    (3.4, AgentSaid(turn=1, text=CANARIES[3])),
    (3.9, BargedIn(turn=1, at_s=103.9)),
    (4.0, TurnEnded(turn=1, at_s=104.0, interrupted=True)),
    (4.1, KeyPressed(key="4711")),
    (4.2, PersonWanted(turn=1, reason=CANARIES[2])),
    (4.3, ProviderFailed(stage="tts", provider="cartesia", error=CANARIES[1])),
    (4.4, started("tts", "cartesia", 4)),
    (4.5, AttemptDropped(stage="tts", provider="cartesia", attempt=4, because="caller")),
    (5.0, CallEnded(reason="caller_hung_up", length_s=5.0)),
)


@dataclass
class Collector:
    """Keeps spans sent by OTLP over HTTP."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    silent: asyncio.Event = field(default_factory=asyncio.Event)  # set if it never answers

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        if self.silent.is_set():
            await asyncio.sleep(60.0)
        return web.Response(body=b"", content_type="application/x-protobuf")

    @classmethod
    @asynccontextmanager
    async def running(cls) -> "AsyncIterator[Collector]":
        found, app = cls(), web.Application()
        app.router.add_post("/v1/traces", found.answer)
        async with TestServer(app, host="127.0.0.1") as server:
            found.url = str(server.make_url("/v1/traces"))
            yield found

    def spans(self) -> Iterator[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
            ExportTraceServiceRequest,
        )

        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    if find_spec("opentelemetry.sdk") is None:
        report_absent("opentelemetry-sdk")
    async with Collector.running() as found:
        yield found


async def tell_call(collector: Collector, told: Sequence[tuple[float, Event]] = CALL) -> int:
    """Tell a call; return how many calls are kept after its end."""
    from operations.telemetry.traces import Traces  # noqa: PLC0415 - an extra

    traces = Traces.over_http(collector.url, version="1.2.3")
    for number, (after_s, event) in enumerate(told, start=1):
        at = (BEGAN + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")
        await traces.hear(Entry(call_id="c1", number=number, at=at, event=event))
    await traces.close()
    return len(traces._calls)


def attributes(span: Any) -> dict[str, Any]:
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value"))
        for attribute in span.attributes
    }


def seconds(span: Any) -> tuple[float, float]:
    began_s = BEGAN.timestamp()
    return (
        round(span.start_time_unix_nano / 1e9 - began_s, 3),
        round(span.end_time_unix_nano / 1e9 - began_s, 3),
    )


async def test_a_call_is_a_span_with_its_turns_and_attempts_below(collector: Collector) -> None:
    await tell_call(collector)

    spans = list(collector.spans())
    names = {span.span_id: span.name for span in spans}
    shape = sorted(
        (span.name, names.get(span.parent_span_id, ""), *seconds(span)) for span in spans
    )
    assert shape == [
        ("attempt", "call", 0.1, 0.3),
        ("attempt", "call", 4.4, 4.5),
        ("attempt", "turn", 2.5, 3.0),
        ("attempt", "turn", 3.0, 3.2),
        ("call", "", 0.0, 5.0),
        ("turn", "call", 2.0, 4.0),
    ]
    assert len({span.trace_id for span in spans}) == 1


async def test_an_attempt_that_outlasts_its_turn_stays_below_it_and_nothing_is_left(
    collector: Collector,
) -> None:
    remembered = await tell_call(
        collector,
        (
            CALL[0],
            (2.2, CallerStopped(at_s=102.0, noticed_at_s=102.2)),
            (2.5, started("tts", "cartesia", 2)),
            (4.0, TurnEnded(turn=1, at_s=104.0, interrupted=True)),
            (4.5, AttemptDropped(stage="tts", provider="cartesia", attempt=2, because="caller")),
            (5.0, CallEnded(reason="caller_hung_up", length_s=5.0)),
        ),
    )

    of = {span.name: span for span in collector.spans()}
    assert of["attempt"].parent_span_id == of["turn"].span_id
    assert remembered == 0


async def test_calls_whose_end_is_lost_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("opentelemetry.sdk") is None:
        report_absent("opentelemetry-sdk")
    from operations.telemetry import traces  # noqa: PLC0415 - an extra

    monkeypatch.setattr(traces, "MAX_LIVE", 2)
    of_calls = traces.Traces.over_http("http://127.0.0.1:9", version="1.2.3")
    for call_id in ("c1", "c2", "c3"):
        at = BEGAN.isoformat(timespec="milliseconds")
        await of_calls.hear(Entry(call_id=call_id, number=1, at=at, event=CALL[0][1]))

    assert list(of_calls._calls) == ["c2", "c3"]


async def test_attributes_describe_the_events(collector: Collector) -> None:
    await tell_call(collector)

    spans = list(collector.spans())
    (call,) = [span for span in spans if span.name == "call"]
    (turn,) = [span for span in spans if span.name == "turn"]
    (failed,) = [span for span in spans if attributes(span).get("holdline.outcome") == "failed"]
    assert attributes(call) == {
        "holdline.call_id": "c1",
        "holdline.transport": "twilio",
        "holdline.agent": "a",
        "holdline.reason": "caller_hung_up",
    }
    assert attributes(turn)["holdline.v2v_s"] == 1.3
    assert attributes(turn)["holdline.interrupted"] is True
    assert [event.name for event in turn.events] == ["RungChosen", "HeldTheLine", "BargedIn"]
    assert attributes(failed)["holdline.failure"] == "cut"
    assert failed.status.code == 2


async def test_no_words_number_or_key_are_sent(collector: Collector) -> None:
    await tell_call(collector)

    sent = b"".join(collector.bodies)
    assert b"holdline.call_id" in sent
    assert [canary for canary in CANARIES if canary.encode() in sent] == []


async def test_no_attribute_shows_a_secret_whatever_its_source(
    collector: Collector,
) -> None:
    """An agent may be named after its number, a rung after its key."""
    from operations.telemetry.traces import Traces  # noqa: PLC0415 - an extra

    traces = Traces.over_http(collector.url, version="1.2.3")
    at = BEGAN.isoformat(timespec="milliseconds")
    for number, event in enumerate(
        (
            CallStarted(transport="twilio", agent=f"desk of {CANARIES[0]}"),
            RungChosen(stage="llm", before=f"openai {KEY}", after="b", cause="failover"),
            CallEnded(reason="caller_hung_up", length_s=5.0),
        )
    ):
        await traces.hear(Entry(call_id="c1", number=number, at=at, event=event))
    await traces.close()

    (sent,) = collector.bodies
    assert b"desk of " in sent
    assert not [item for item in (CANARIES[0], KEY) if item.encode() in sent]


async def test_a_collector_that_never_answers_blocks_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operations.telemetry import traces  # noqa: PLC0415 - an extra

    monkeypatch.setattr(traces, "END_EXPORT_S", 0.1)
    monkeypatch.setattr(traces, "SEND_S", 0.2)
    collector.silent.set()

    async with asyncio.timeout(30.0):
        await tell_call(collector)

    assert len(collector.bodies) >= 1


TURN_1 = ((1.0, CallerStopped(at_s=0.8, noticed_at_s=1.0)), (1.1, TurnDecided(turn=1, at_s=1.1)))
TURN_2 = ((3.0, CallerStopped(at_s=2.8, noticed_at_s=3.0)), (3.1, TurnDecided(turn=2, at_s=3.1)))


async def test_a_second_turn_ends_an_unended_one(collector: Collector) -> None:
    await tell_call(collector, (CALL[0], *TURN_1, *TURN_2, CALL[-1]))

    turns = [span for span in collector.spans() if span.name == "turn"]
    assert [(attributes(turn)["holdline.turn"], *seconds(turn)) for turn in turns] == [
        (1, 0.8, 3.0),
        (2, 2.8, 5.0),
    ]


async def test_a_pause_within_a_turn_restarts_it(collector: Collector) -> None:
    await tell_call(collector, (CALL[0], TURN_1[0], *TURN_2, CALL[-1]))

    (turn,) = [span for span in collector.spans() if span.name == "turn"]
    assert seconds(turn) == (2.8, 5.0)
