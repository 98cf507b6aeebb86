"""Readiness: whether a call could be answered now, and what it would lack.

A stage is down while none of its rungs may be used. A call continues without it if the outage menu
has a step that needs no provider: a menu in any case, the local voice in place of the voices. Clips
and a goodbye alone do not count.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from processors.holding.outage_rules import Step

PARTING: Final = frozenset({Step.CLIP, Step.CHOSEN, Step.GOODBYE})  # these do not help the caller
VOICES: Final = "tts"
STORAGE: Final = "storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The readiness of a process, for load balancers and operators."""

    ready: bool
    degraded: bool  # ready, but without a stage or without the record
    reasons: tuple[str, ...]  # full, busy, draining, stt_down, storage_down, …


def judge_readiness(
    *, why_closed: str, usable: Mapping[str, bool], steps: Collection[Step], recorded: bool = True
) -> Readiness:
    """Return whether a call could be answered now.

    Args:
        why_closed: Why no call is taken at all, such as `draining`; empty if calls are taken.
        usable: For each stage, whether any of its rungs may be used now.
        steps: The enabled steps of the outage menu.
        recorded: Whether the database accepts the record; calls continue without it.
    """
    down = [stage for stage, any_rung in usable.items() if not any_rung]
    lost = any(not _goes_on_without(stage, steps) for stage in down)
    missing = down if recorded else [*down, STORAGE]
    reasons = ((why_closed,) if why_closed else ()) + tuple(f"{item}_down" for item in missing)
    ready = not why_closed and not lost
    return Readiness(ready=ready, degraded=ready and bool(missing), reasons=reasons)


def _goes_on_without(stage: str, steps: Collection[Step]) -> bool:
    useless = PARTING if stage == VOICES else PARTING | {Step.LOCAL}
    return any(step not in useless for step in steps)
