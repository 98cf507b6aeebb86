"""The doctor names rungs that promise less, and ladders that one vendor can take down."""

from collections.abc import Sequence
from typing import Any

import pytest

from bot.doctor.promises import check_ladder, owner_of, weaknesses_of
from providers.catalog import PROVIDERS, provider
from providers.facts import RungFacts
from providers.provider import RungSpec, Stage
from tests.kit.bench import rung_spec

STEPS = ("local", "keypad", "words", "clip", "goodbye")


def rung(stage: Stage, kind: str, url: str = "", **more: Any) -> RungSpec:
    """Return a rung as the configuration builds it: without a URL, with its vendor's."""
    entry = provider(stage, kind, more.get("service", ""))
    return rung_spec(stage, kind, url or entry.url, **{"name": kind, **more})


def weak(spec: RungSpec) -> list[str]:
    return [item.text for item in weaknesses_of(spec)]


@pytest.mark.parametrize(
    ("stage", "facts", "says"),
    [
        ("stt", {"interim": True}, ["may wait 2.5 s for an answer instead of 1.5 s"]),
        ("stt", {"finalises": True}, ["its failure is noticed only afterwards"]),
        ("stt", {}, ["does not finish on request", "while the caller speaks"]),
        ("stt", {"finalises": True, "interim": True}, []),
        ("llm", {}, ["does not say why an answer ended"]),
        ("llm", {"says_why": True}, []),
        ("tts", {"cancels": True}, []),
        ("tts", {}, ["reconnected at each interruption"]),
        ("tts", {"word_times": True}, ["reconnected at each interruption"]),
    ],
)
def test_a_rung_is_named_by_what_its_service_cannot_do(
    stage: Stage, facts: dict[str, bool], says: Sequence[str]
) -> None:
    found = weak(rung(stage, "pipecat", facts=RungFacts(**facts)))

    assert len(found) == len(says)
    assert all(part in text for part, text in zip(says, found, strict=True))


@pytest.mark.parametrize(
    ("language", "estimated"), [("en", 0), ("de", 0), ("pt-BR", 0), ("tlh", 1), ("ii", 1)]
)
def test_an_untimed_voice_is_named_if_its_language_cannot_be_aligned(
    language: str, estimated: int
) -> None:
    facts = RungFacts(cancels=True)
    found = weak(rung("tts", "pipecat", facts=facts, language=language))

    assert len(found) == estimated
    assert not weak(rung("tts", "cartesia", language=language))


@pytest.mark.parametrize("entry", PROVIDERS, ids=lambda item: f"{item.stage}-{item.kind}")
def test_each_cure_names_kinds_without_the_limit(entry: Any) -> None:
    for item in weaknesses_of(rung(entry.stage, entry.kind)):
        named = item.cure.rpartition(": ")[2].split(", ")

        assert entry.kind not in named
        assert all(not weak(rung(entry.stage, kind)) for kind in named)


GROQ = {"name": "groq", "url": "https://api.groq.com/openai/v1"}
MISTRAL = {"name": "mistral", "url": "https://api.mistral.ai/v1"}
SONIOX = "pipecat.services.soniox.stt:SonioxSTTService"
WHISPER = "pipecat.services.whisper.stt:WhisperSTTService"


@pytest.mark.parametrize(
    ("stage", "rungs", "owner"),
    [
        ("stt", [{"kind": "deepgram"}], "Deepgram"),
        (
            "stt",
            [{"kind": "deepgram"}, {"kind": "deepgram", "url": "wss://api.eu.deepgram.com"}],
            "Deepgram",
        ),
        (
            "stt",
            [
                {"kind": "deepgram"},
                {"kind": "pipecat", "service": "pipecat.services.deepgram.stt:DeepgramSTTService"},
            ],
            "Deepgram",
        ),
        ("stt", [{"kind": "deepgram"}, {"kind": "local"}], "Deepgram"),
        ("stt", [{"kind": "deepgram"}, {"kind": "soniox"}], ""),
        ("stt", [{"kind": "soniox"}, {"kind": "pipecat", "service": SONIOX}], "Soniox"),
        ("stt", [{"kind": "deepgram"}, {"kind": "pipecat", "service": WHISPER}], ""),
        ("stt", [{"kind": "deepgram"}, {"kind": "deepgram", "url": "wss://ears.own.example"}], ""),
        ("llm", [{"kind": "openai"}, {"kind": "openai", **GROQ}], ""),
        ("llm", [{"kind": "openai", **GROQ}, {"kind": "openai", **MISTRAL}], ""),
        ("llm", [{"kind": "openai", **GROQ}, {"kind": "openai", **GROQ}], "Groq"),
        (
            "llm",
            [
                {"kind": "openai", **GROQ},
                {"kind": "pipecat", "service": "pipecat.services.groq.llm:GroqLLMService"},
            ],
            "Groq",
        ),
        (
            "llm",
            [
                {"kind": "gemini"},
                {
                    "kind": "openai",
                    "url": "https://generativelanguage.googleapis.com/v1beta/openai",
                },
            ],
            "Google",
        ),
        (
            "llm",
            [
                {"kind": "openai", "url": "https://one.openai.azure.com/openai/v1"},
                {"kind": "openai", "url": "https://two.openai.azure.com/openai/v1"},
            ],
            "azure.com",
        ),
        (
            "llm",
            [
                {"kind": "openai", "name": "a", "url": "http://127.0.0.1:8000/v1"},
                {"kind": "openai", "name": "b", "url": "http://127.0.0.1:8001/v1"},
            ],
            "",
        ),
        (
            "llm",
            [
                {"kind": "openai", "url": "https://llm.one.co.uk/v1"},
                {"kind": "openai", "url": "https://llm.two.co.uk/v1"},
            ],
            "",
        ),
        ("tts", [{"kind": "cartesia"}, {"kind": "local"}], "Cartesia"),
        ("tts", [{"kind": "aura"}, {"kind": "openai"}], ""),
    ],
    ids=lambda value: "-".join(item["kind"] for item in value) if isinstance(value, list) else None,
)
def test_a_ladder_of_one_vendor_is_named_with_what_to_add(
    stage: Stage, rungs: Sequence[dict[str, Any]], owner: str
) -> None:
    found = [*check_ladder(stage, [rung(stage, **item) for item in rungs], STEPS)]

    assert len(found) == bool(owner)
    for item in found:
        assert item.ok
        assert item.about == f"stages.{stage}"
        assert f"one vendor, {owner};" in item.text
        added = item.text.rpartition("such as ")[2].split(" or ")
        assert owner not in {owner_of(rung(stage, kind)) for kind in added}
