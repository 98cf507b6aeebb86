"""A call's result and its report, with what a model has written of it."""

from dataclasses import replace

from operations.after_call.asking import WrittenResult
from operations.after_call.outcome_rules import CallResult
from operations.after_call.reading import local_time
from operations.after_call.story_rules import CallStory
from operations.crm.customer import CrmReport


def with_written(known: CallResult, written: WrittenResult, story: CallStory) -> CallResult:
    """Return what a model said in the place of what is known; what was done stays done."""
    if written.read is None:
        return replace(known, why=written.why)
    read = written.read
    return replace(
        known,
        summary=read.summary,
        # A number that is on the list is there, whatever a model makes of it.
        outcome="do_not_call" if story.no_more_calls else read.outcome,
        callback_at_s=read.callback_at_s,
        notes=read.notes,
        made_by="model",
        provider=written.provider,
        why="",
    )


def reported(report: CrmReport, result: CallResult) -> CrmReport:
    """Return what the register is told of a call, with what it came to."""
    return replace(
        report,
        summary=result.summary,
        result=result.outcome,
        campaign=result.campaign,
        callback_at=iso_of(result.callback_at_s),
        notes=result.notes,
        made_by=result.made_by,
    )


def iso_of(moment_s: float | None) -> str:
    """Return a moment since 1970 in ISO 8601, UTC; empty: there is none."""
    return "" if moment_s is None else local_time(moment_s, "UTC").isoformat(timespec="seconds")
