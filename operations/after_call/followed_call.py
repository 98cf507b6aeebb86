"""A call as it is followed for what is done behind its end: its report, and its words."""

from calls.events import Event
from operations.after_call.story_rules import CallStory
from operations.crm.customer import CrmReport
from operations.crm.report_rules import ReportedCall


class FollowedCall:
    """One call, fact by fact."""

    def __init__(self, call_id: str) -> None:
        self.story = CallStory()
        self._report = ReportedCall(call_id)

    def add(self, event: Event) -> None:
        """Add one fact."""
        self.story.add(event)
        self._report.add(event)

    def report(self, *, ended_s: float) -> CrmReport:
        """Return what it came to, without a model."""
        return self._report.report(ended_s=ended_s)
