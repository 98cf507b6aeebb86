"""Readiness: whether a call could be answered now, and what would be missing.

A stage is down while none of its rungs may be used. Calls are still answered if the outage menu has
a step that helps without that stage: `words` or `keypad` for any stage, the local voice for TTS
only. Clips and a goodbye alone do not count.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from processors.holding.outage_rules import Step

USELESS_ALONE: Final = frozenset({Step.CLIP, Step.CHOSEN, Step.GOODBYE})
"""Steps that do not help the caller unless there is another step."""

VOICES: Final = "tts"
STORAGE: Final = "storage"
STORE: Final = "store"  # of several machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The readiness of a process, for load balancers and operators."""

    ready: bool
    degraded: bool  # ready, but a stage or the database is down
    reasons: tuple[str, ...]  # full, busy, draining, stt_down, storage_down, …; may be empty


def judge_readiness(
    *,
    why_closed: str,
    usable: Mapping[str, bool],
    steps: Collection[Step],
    recorded: bool = True,
    store_away: bool = False,
) -> Readiness:
    """Return whether a call could be answered now.

    Args:
        why_closed: Why no call is taken, such as `draining`; empty if calls are taken.
        usable: By stage, whether any of its rungs may be used now.
        steps: The enabled steps of the outage menu.
        recorded: Whether calls can be recorded in the database; they go on without it.
        store_away: Whether the store of several machines is away; calls go on without it, too.
    """
    down = [stage for stage, any_rung in usable.items() if not any_rung]
    can_answer = all(_can_do_without(stage, steps) for stage in down)
    away = ((STORAGE, not recorded), (STORE, store_away))
    missing = [*down, *(name for name, is_away in away if is_away)]
    reasons = ((why_closed,) if why_closed else ()) + tuple(f"{item}_down" for item in missing)
    ready = not why_closed and can_answer
    return Readiness(ready=ready, degraded=ready and bool(missing), reasons=reasons)


def _can_do_without(stage: str, steps: Collection[Step]) -> bool:
    useless = USELESS_ALONE if stage == VOICES else USELESS_ALONE | {Step.LOCAL}
    return any(step not in useless for step in steps)
