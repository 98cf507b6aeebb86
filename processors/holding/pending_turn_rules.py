"""Whether what the caller just said is ours to answer, as long as nobody has decided that.

An answer is owed from the caller's stop on, so that the decision may be late and the line is
held all the same. But nothing is said to a caller who thinks: when turn detection took the pause
for no end, nothing is owed until silence has ended the turn. And a cough is no turn: without a word
of it nothing is owed, unless nobody is left who could have written one down, or an answer was owed
before it: that one still is, whether the cough sounded finished or not.
"""


class PendingTurn:
    """Of one call; begins anew when the caller speaks.

    Attributes:
        worded: A word was written down of what the caller says.
        finished: What turn detection said of the pause; None: it has not said anything yet.
        unanswered: What the caller said before it has had no answer.
    """

    def __init__(self) -> None:
        self.worded = False
        self.finished: bool | None = None
        self.unanswered = False

    def begin(self, *, unanswered: bool) -> None:
        """The caller speaks: what was said of an earlier pause is void.

        Args:
            unanswered: An answer is owed to them.
        """
        self.worded, self.finished = False, None
        self.unanswered = self.unanswered or unanswered

    def settle(self) -> None:
        """What the caller said before is answered, or never will be."""
        self.unanswered = False

    def decide(self) -> None:
        """The turn is over: whatever is heard of it from now on changes nothing."""
        self.worded = self.finished = True
        self.unanswered = False

    def owed(self, *, deaf: bool) -> bool:
        """Say whether an answer is owed.

        Args:
            deaf: A recogniser failed: words and the turn's end may both be missing.
        """
        return deaf or (self.finished is not False if self.worded else self.unanswered)
