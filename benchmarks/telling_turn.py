"""The events of one healthy turn, taken from the record of a telephone call."""

from typing import Final

from calls.events import (
    AgentSaid,
    AnswerHeard,
    CallerStarted,
    CallerStopped,
    Event,
    FirstSpeech,
    FirstToken,
    PhaseMoved,
    TranscriptFinal,
    TurnCosted,
    TurnDecided,
    TurnEnded,
    TurnParts,
    UsageMeasured,
)
from fallbacks.facts import (
    AttemptStarted,
    AttemptWon,
    EarlyAnswerAsked,
    EarlyAnswerTaken,
    PauseJudged,
)

TURN: Final[tuple[Event, ...]] = (
    CallerStarted(at_s=25972.028),
    AttemptStarted(stage="stt", provider="deepgram", attempt=6, extra=False, left_s=2.5),
    AttemptWon(stage="stt", provider="deepgram", attempt=6, after_s=0.303),
    CallerStopped(at_s=25972.427, noticed_at_s=25972.627),
    PauseJudged(
        finished=True, by="detector", early=True, waited_s=0.0, took_s=0.061, dropped=0, dropped_s=0
    ),
    UsageMeasured(
        turn=2, stage="stt", provider="deepgram", model="nova-3", audio_s=9.08, cost=0.001
    ),
    TranscriptFinal(
        turn=2, at_s=25972.713, provider="deepgram", text="Where are you?", confidence=0.685
    ),
    EarlyAnswerAsked(turn=2),
    AttemptStarted(stage="llm", provider="openai", attempt=7, extra=False, left_s=3.713),
    TurnCosted(turn=1, cost=0.01, currency="USD"),
    TurnDecided(turn=2, at_s=25972.719),
    PhaseMoved(before="listening", after="processing", cause="turn_decided"),
    EarlyAnswerTaken(turn=2, asked_s=0.008, gained_s=0.008, extra_share=0.0),
    AttemptWon(stage="llm", provider="openai", attempt=7, after_s=0.354),
    FirstToken(turn=2, at_s=25973.073, provider="openai"),
    AttemptStarted(stage="tts", provider="elevenlabs", attempt=8, extra=False, left_s=3.249),
    UsageMeasured(
        turn=2,
        stage="tts",
        provider="elevenlabs",
        model="eleven_flash_v2_5",
        characters=32,
        cost=0.002,
    ),
    AttemptWon(stage="tts", provider="elevenlabs", attempt=8, after_s=0.116),
    FirstSpeech(turn=2, at_s=25973.295, provider="elevenlabs"),
    PhaseMoved(before="processing", after="speaking", cause="agent_speaks"),
    AnswerHeard(
        turn=2,
        at_s=25973.297,
        v2v_s=0.871,
        parts=TurnParts(
            vad_s=0.2,
            transcript_s=0.086,
            decision_s=0.007,
            llm_s=0.354,
            tts_s=0.222,
            transport_s=0.003,
        ),
    ),
    UsageMeasured(
        turn=2,
        stage="tts",
        provider="elevenlabs",
        model="eleven_flash_v2_5",
        characters=122,
        cost=0.006,
    ),
    UsageMeasured(
        turn=2,
        stage="llm",
        provider="openai",
        model="gpt-4.1-mini",
        prompt_tokens=496,
        completion_tokens=34,
        cost=0.0,
    ),
    PhaseMoved(before="speaking", after="listening", cause="agent_has_spoken"),
    TurnEnded(turn=2, at_s=25980.919, interrupted=False),
    AgentSaid(
        turn=2,
        text="We are at twelve Market Street, on the ground floor beside the post office.",
    ),
    UsageMeasured(
        turn=2, stage="stt", provider="deepgram", model="nova-3", audio_s=11.44, cost=0.002
    ),
)
