"""A campaign's own breaker: several calls in a row that failed for our reasons pause it.

The providers' breakers see what providers do. What they do not see, such as an agent whose tool is
broken in every call, would otherwise be tried on one contact after the other. Contacts that were
only skipped do not count: the reason is known then, and the guard holds by itself. Nothing but an
operator's word takes a tripped one back: nobody knows what a probe would have to ask.
"""

from dataclasses import dataclass
from typing import Final

IN_A_ROW: Final = 5  # chosen: three may be one bad minute of several calls at once


@dataclass(slots=True)
class CampaignBreaker:
    """Counts the calls of one campaign that failed for our reasons, one after the other.

    Attributes:
        limit: So many in a row trip it.
        in_a_row: How many there were.
    """

    limit: int = IN_A_ROW
    in_a_row: int = 0

    @property
    def tripped(self) -> bool:
        """Whether the campaign is to pause."""
        return self.in_a_row >= self.limit

    def note(self, *, ours: bool, reached: bool) -> bool:
        """Count what became of a dial; say whether that has just tripped the breaker.

        Args:
            ours: It failed for our reasons.
            reached: Somebody was talked to, so that the agent has proven itself. What was busy or
                rang out says nothing of us, and is not counted.
        """
        was = self.tripped
        if ours:
            self.in_a_row += 1
        elif reached and not was:
            self.in_a_row = 0
        return self.tripped and not was

    def reset(self) -> None:
        """Begin anew, on an operator's word."""
        self.in_a_row = 0
