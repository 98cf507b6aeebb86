import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.events import PhaseMoved, PhaseRefused
from calls.timeline import TRANSITIONS, CallPhase, Phase


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ([Phase.PROCESSING, Phase.SPEAKING, Phase.LISTENING], Phase.LISTENING),
        ([Phase.SPEAKING, Phase.LISTENING], Phase.LISTENING),
        ([Phase.PROCESSING, Phase.LISTENING], Phase.LISTENING),
        ([Phase.PROCESSING, Phase.SPEAKING, Phase.PROCESSING], Phase.PROCESSING),
        ([Phase.ENDED], Phase.ENDED),
    ],
    ids=["a turn", "a greeting", "a turn that failed", "a tool after some words", "a hang-up"],
)
def test_an_ordinary_call_follows_the_transition_table(path: list[Phase], last: Phase) -> None:
    phase = CallPhase()

    facts = [phase.transition_to(item, "turn_decided") for item in path]

    assert all(isinstance(fact, PhaseMoved) for (fact,) in facts)
    assert phase.current_state is last


def test_a_transition_outside_the_table_is_reported_and_changes_nothing() -> None:
    phase = CallPhase()
    phase.transition_to(Phase.ENDED, "call_ended")

    facts = phase.transition_to(Phase.SPEAKING, "agent_speaks")

    assert facts == (PhaseRefused(phase="ended", target="speaking", cause="agent_speaks"),)
    assert phase.current_state is Phase.ENDED


def test_a_transition_names_both_phases_and_the_reason() -> None:
    facts = CallPhase().transition_to(Phase.SPEAKING, "agent_speaks")

    assert facts == (PhaseMoved(before="listening", after="speaking", cause="agent_speaks"),)


def test_staying_in_a_phase_is_not_reported() -> None:
    assert CallPhase().transition_to(Phase.LISTENING, "caller_speaks") == ()


@given(st.lists(st.sampled_from(list(Phase))))
def test_the_phase_only_follows_the_table(asked: list[Phase]) -> None:
    phase = CallPhase()
    for target in asked:
        before, allowed = phase.current_state, phase.can_transition(target)
        facts = phase.transition_to(target, "caller_speaks")
        moved = phase.current_state is not before
        assert moved == (allowed and target is not before)
        assert moved == any(isinstance(fact, PhaseMoved) for fact in facts)


def test_every_phase_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Phase)
