"""Calls in progress, folded from their entries."""

from dataclasses import replace
from typing import Any

import pytest

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, PhaseMoved
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    RungChosen,
    StageExhausted,
    StageRecovered,
    StepTaken,
)
from fallbacks.failure import Kind, Scope
from operations.telemetry.live import ConsoleSums

AT = "2026-11-21T12:00:00.000+00:00"
STARTED = CallStarted(
    transport="twilio", agent="desk", caller="+15551234567", called="+15557654321"
)


async def shown(*events: Event) -> list[dict[str, Any]]:
    sums = ConsoleSums()
    for number, event in enumerate(events, 1):
        await sums.hear(Entry(call_id="c1", number=number, at=AT, event=event))
    return sums.live()


async def test_a_call_is_shown_from_its_start_to_its_end_with_masked_numbers() -> None:
    (call,) = await shown(STARTED)

    assert (call["id"], call["caller"], call["called"]) == ("c1", "+1555****67", "+1555****21")
    assert (call["state"], call["started_at"]) == ("listening", AT)
    assert await shown(STARTED, CallEnded(reason="silence", length_s=3.0)) == []


@pytest.mark.parametrize(
    ("started", "direction", "ending"),
    [
        (STARTED, "inbound", "4567"),
        (replace(STARTED, direction="outbound"), "outbound", "4321"),
        (replace(STARTED, caller=""), "inbound", ""),
    ],
)
async def test_a_call_is_known_by_the_end_of_the_other_partys_number(
    started: CallStarted, direction: str, ending: str
) -> None:
    (call,) = await shown(started)

    assert (call["direction"], call["ending"]) == (direction, ending)


async def test_a_stages_provider_is_the_last_one_that_served() -> None:
    (call,) = await shown(
        STARTED,
        AttemptWon(stage="tts", provider="cartesia", attempt=1, after_s=0.1),
        AttemptFailed(
            stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.4
        ),
        RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="failover"),
        PhaseMoved(before="processing", after="speaking", cause="agent_speaks"),
    )

    assert call["providers"] == {"tts": "elevenlabs"}
    assert (call["failures"], call["failovers"], call["last"]) == (1, 1, "cartesia: cut")
    assert call["state"] == "speaking"


@pytest.mark.parametrize(
    "back",
    [
        StageRecovered(stage="llm", down_s=4.0),
        AttemptWon(stage="llm", provider="openai", attempt=3, after_s=0.2),
    ],
)
async def test_a_stage_that_is_down_is_shown_with_its_replacement_until_it_recovers(
    back: Event,
) -> None:
    down = (STARTED, StageExhausted(stage="llm", attempts=2), StepTaken(stage="llm", step="clip"))

    (call,) = await shown(*down)
    (well,) = await shown(*down, back)

    assert (call["down"], call["step"]) == (["llm"], "clip")
    assert (well["down"], well["step"]) == ([], "")


async def test_a_resumed_call_is_shown_from_its_beginning() -> None:
    (call,) = await shown(replace(STARTED, gap_s=1.0, began_at="2026-11-21T11:59", turn=3))

    assert (call["started_at"], call["turn"]) == ("2026-11-21T11:59", 3)


async def test_a_rejected_payload_is_shown_but_not_counted_as_a_failure() -> None:
    refused = AttemptFailed(
        stage="llm", provider="openai", kind=Kind.BAD_REQUEST, scope=Scope.PAYLOAD, after_s=0.1
    )
    (call,) = await shown(STARTED, refused)

    assert (call["failures"], call["last"]) == (0, "openai: bad_request")
