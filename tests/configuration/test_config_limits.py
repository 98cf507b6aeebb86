"""Limits, hedges and cold standbys, from the configuration to the stages' policies."""

import pytest

from bot.health import policies
from bot.health.policies import build_policies
from fallbacks.failure import Kind, failed
from fallbacks.limits import Limits
from providers.facts import RungFacts
from tests.configuration.reading import read, refused

STAGES = """
stages:
  stt: [{name: ears, kind: local}]
  llm: [{name: model, kind: openai, api_key_env: OPENAI_API_KEY, url: "http://127.0.0.1:9/v1"%s}]
  tts: [{name: voice, kind: local%s}, {name: other, kind: local%s}]
"""


def stages(*, model: str = "", voice: str = "", other: str = "") -> str:
    return STAGES % (model, voice, other)


def test_limits_are_off_by_default() -> None:
    policies = build_policies(read(stages()).settings, 100.0)

    for policy in policies.values():
        for gate in policy.gates.values():
            assert gate._limiter.limits == Limits()  # type: ignore[attr-defined]
    assert policies["tts"].cold == frozenset()
    assert policies["llm"].hedges is None


def test_limits_and_cold_standbys_reach_their_stage() -> None:
    text = stages(
        model=", limits: {concurrent: 2, per_minute: 60}",
        voice=", standby: cold",
        other=", limits: {concurrent: 5}, standby: cold",
    )
    policies = build_policies(read(text).settings, 100.0)
    found = {
        name: gate._limiter.limits  # type: ignore[attr-defined]
        for policy in policies.values()
        for name, gate in policy.gates.items()
    }

    assert found["model"] == Limits(concurrent=2, per_minute=60)
    assert found["other"] == Limits(concurrent=5)
    assert found["voice"] == Limits()
    assert policies["tts"].cold == {"other"}  # the first rung is never a standby


def test_only_the_tts_stage_knows_which_voices_do_not_time_their_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policies, "facts_of", lambda _rung, _stage: RungFacts())
    built = build_policies(read(stages()).settings, 100.0)

    assert built["tts"].untimed == {"voice", "other"}
    assert built["stt"].untimed == built["llm"].untimed == frozenset()


def test_only_rungs_of_one_account_share_its_failures() -> None:
    text = """
stages:
  stt: [{name: ears, kind: local}]
  llm:
    - {name: model, kind: openai, api_key_env: OPENAI_API_KEY, account: acme}
    - {name: other, kind: openai, api_key_env: DEEPGRAM_API_KEY, account: acme}
    - {name: spare, kind: openai, api_key_env: CARTESIA_API_KEY}
  tts: [{name: voice, kind: local, account: acme}]
"""
    availability = build_policies(read(text).settings, 100.0)["llm"].availability
    permit = availability.of("llm", "model").permit(100.0)
    assert permit is not None

    availability.failed(permit, failed(Kind.QUOTA, "llm", provider="model"), now=100.0)

    usable = [*availability.usable("llm", 100.0), *availability.usable("tts", 100.0)]
    assert [rung.provider for rung in usable] == ["spare", "voice"]


def test_only_the_llm_stage_hedges_up_to_the_configured_share() -> None:
    text = stages() + "resilience: {hedge: {enabled: true, share: 0.05}}"
    policies = build_policies(read(text).settings, 100.0)
    hedges = policies["llm"].hedges

    assert hedges is not None
    taken = []
    for _ in range(60):
        hedges.note()
        taken.append(hedges.take())
    assert 2 <= taken.count(True) <= 3  # one in twenty
    assert policies["stt"].hedges is policies["tts"].hedges is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            stages(model=", limits: {concurrent: 0}"),
            "stages.llm[0].limits.concurrent is 0; it must be at least 1",
        ),
        (
            stages(voice=", limits: {per_minute: 10}"),
            "stages.tts[0].limits.per_minute is unknown; known here: concurrent",
        ),
        (
            stages(voice=", standby: hot"),
            "stages.tts[0].standby is \"hot\"; it must be 'warm' or 'cold'",
        ),
        (
            stages() + "resilience: {hedge: {share: 2}}",
            "resilience.hedge.share is 2; it must be at most 1",
        ),
    ],
)
def test_a_mistake_is_reported_with_the_valid_values(text: str, line: str) -> None:
    (told,) = refused(text)

    assert told.endswith(line)
