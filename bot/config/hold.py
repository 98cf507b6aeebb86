"""When the line is held for an answer that is late, and what is done when none can come."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from bot.config.values import Count, CountOrZero, Seconds, Section
from processors.holding.descent_rules import CLIPS, MENUS, STEPS, Step
from processors.holding.late_answer_rules import CLIP_S, FIRST_S, LAST_S, SILENCE_S, TURNS_APART


class HoldLineSettings(Section):
    """Fillers, clips, and the way down. Seconds count from the caller's last voiced sample."""

    first_s: Seconds = FIRST_S  # a filler, when no answer is expected soon
    last_s: Seconds = LAST_S  # a filler, even if one is
    clip_s: Seconds = CLIP_S  # a clip, where a filler may not be
    silence_s: Seconds = SILENCE_S  # the longest silence while the agent works on an answer
    turns_apart: Count = TURNS_APART  # from one filler to the next
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = STEPS
    clips: CountOrZero = CLIPS  # turns that are met with clips before the menu is read
    menus: CountOrZero = MENUS  # readings of the menu
    utterances: Path | None = None  # None: the texts that come with Holdline
    clips_dir: Path | None = None  # None: `clips` in `logs.dir`
    render: bool = True  # clips that are missing are rendered in the background

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.first_s <= self.last_s:
            raise ValueError("`first_s` must not be later than `last_s`")
        return self
