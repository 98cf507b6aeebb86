"""Whether a call that comes in now could be answered, and whether something would be missing.

A stage is down while none of its rungs may be asked. The call then goes on without it as long as
the way down has a step that needs no provider: a menu in any case, the local voice in place of the
voices. Clips and a goodbye alone are no answer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from processors.holding.descent_rules import Step

PARTING: Final = frozenset({Step.CLIP, Step.CHOSEN, Step.GOODBYE})  # these help nobody further
VOICES: Final = "tts"
STORAGE: Final = "storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What a load balancer and an operator want to know."""

    ready: bool
    degraded: bool  # ready, and a call would have to do without a stage, or leave no record
    reasons: tuple[str, ...]  # full, busy, draining, stt_down, storage_down, …


def judge_readiness(
    *, why_closed: str, usable: Mapping[str, bool], steps: Collection[Step], recorded: bool = True
) -> Readiness:
    """Return whether a call could be answered now.

    Args:
        why_closed: Why no call is taken at all, such as `draining`; empty: calls are taken.
        usable: For each stage, whether any of its rungs may be asked now.
        steps: Those of the way down that are switched on.
        recorded: Whether the database takes the record; a call goes on without.
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
