"""The report as plain values: numbers masked, words left out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from calls.sentences import Vendors, explain, vendor_at
from calls.verdict import CallerVerdict
from operations.masking import mask_number, printable
from operations.moments import iso
from operations.notify.alert import LEAD_S
from operations.notify.alert_outbox import SentAlert
from operations.notify.channel import alert_as_json, alert_text
from operations.postmortem.gathering import (
    Outage,
    ReportInput,
    breaker_states,
    close_for_dead_processes,
    find_outages,
    latency_around,
    latency_of,
)
from operations.record.reader import BreakerMoveRow, CallRow, FailureRow, HappeningRow, TurnRow


def tell_story(
    found: ReportInput, *, budget_s: float, made_at: datetime, vendors: Vendors | None = None
) -> dict[str, Any]:
    """Return the report as JSON values; `vendors` are named in the sentences about failures."""
    vendors = vendors or {}
    moves = close_for_dead_processes(found.breaker_moves, found.seen, found.until)
    outages = find_outages(found.failures, moves, found.since)
    turns = [turn for turn in found.turns if turn.began_at >= found.since]
    calls = [_call_as_json(call) for call in found.calls]
    moved = [breaker_move for breaker_move in found.breaker_moves if breaker_move.at >= found.since]
    return {
        "made_at": _format_for_programs(made_at),
        "since": _format_for_programs(found.since),
        "until": _format_for_programs(found.until),
        "budget_s": budget_s,
        "left_out": [f"more {item} than the report can hold" for item in found.cut],
        "counts": {
            "calls": len(calls),
            "calls_by_verdict": _by_verdict(calls),
            "calls_interrupted": sum(call["state"] == "interrupted" for call in calls),
            "turns": len(turns),
            "turns_by_verdict": _by_verdict([_turn_as_json(turn) for turn in turns]),
            "failures": len(found.failures),
            "failovers": sum(call.failovers for call in found.calls),
            "breaker_moves": len(moved),
            "breakers_opened": sum(breaker_move.after == "open" for breaker_move in moved),
            "alerts": len(found.alerts),
            "outages": len(outages),
        },
        "cost": _cost_by_currency(found.calls),
        "latency": asdict(latency_of(turns, budget_s=budget_s)),
        "outages": [_outage_as_json(item, found, vendors, budget_s=budget_s) for item in outages],
        "alerts": [_sent_alert_as_json(alert) for alert in found.alerts],
        "operators": [_action_as_json(operator) for operator in found.operators],
        "breakers": _breakers_as_json(moves),
        "failures": [_failure_as_json(failure, vendors) for failure in found.failures],
        "calls": calls,
        "turns": [_turn_as_json(turn) for turn in found.turns],
    }


def _outage_as_json(
    outage: Outage, found: ReportInput, vendors: Vendors, *, budget_s: float
) -> dict[str, Any]:
    """Return an outage with its failures, the calls hurt, the alerts sent and the waits."""
    ended = outage.ended or found.until
    kinds = [failure.kind for failure in outage.failures]
    # A caller may be hurt in a turn that began before the first failure was reported.
    began_s, ended_s = outage.began.timestamp() - LEAD_S, ended.timestamp()
    hurt = [call.id for call in found.hurt if began_s <= call.hurt_at.timestamp() <= ended_s]
    return {
        "stage": outage.stage,
        "provider": outage.provider,
        "began_at": _format_for_programs(outage.began),
        "ended_at": _format_for_programs(outage.ended),
        "lasted_s": round((ended - outage.began).total_seconds(), 3),
        "failures": len(outage.failures),
        "kinds": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "says": list(
            dict.fromkeys(_explain_failure(failure, vendors) for failure in outage.failures)
        ),
        "breakers_opened": outage.opened,
        "calls_hurt": sorted(hurt),
        "alerts": [sent.alert.key for sent in found.alerts if _is_about(sent, outage, ended)],
        "latency": {
            name: asdict(latency)
            for name, latency in latency_around(
                outage, found.turns, found.until, budget_s=budget_s
            ).items()
        },
    }


def _is_about(sent: SentAlert, outage: Outage, ended: datetime) -> bool:
    """Return whether an alert is about the rung or its whole stage, during the outage."""
    alert = sent.alert
    last_s = alert.ended_s if alert.ended_s is not None else ended.timestamp()
    overlaps = alert.open_s <= ended.timestamp() and last_s >= outage.began.timestamp()
    return overlaps and alert.stage == outage.stage and alert.rung in ("", outage.provider)


def _sent_alert_as_json(sent: SentAlert) -> dict[str, Any]:
    """Return an alert with the text that was sent, and what each channel got of it."""
    text = alert_text(sent.alert)
    return alert_as_json(sent.alert) | {
        "as_sent": text.whole,
        "failures": sent.alert.failures,
        "told_at": iso(sent.alert.told_at_s or None, "milliseconds") or None,
        "channels": {
            name: {"sent_revision": sent.sent[name], "wanted_revision": wanted}
            for name, wanted in sent.wanted.items()
        },
    }


def _action_as_json(row: HappeningRow) -> dict[str, Any]:
    fields = {name: _masked_value(value) for name, value in row.data.items()}
    return {"at": _format_for_programs(row.at), "kind": row.kind, **fields}


def _breakers_as_json(moves: Sequence[BreakerMoveRow]) -> list[dict[str, Any]]:
    """Return each rung's breaker: its states over time, and the moves that made them."""
    states = breaker_states(moves)
    return [
        {
            "stage": stage,
            "provider": provider,
            "states": [{"at": _format_for_programs(at), "state": state} for at, state in changes],
            "moves": [
                _move_as_json(move)
                for move in moves
                if (move.stage, move.provider) == (stage, provider)
            ],
        }
        for (stage, provider), changes in states.items()
    ]


def _move_as_json(row: BreakerMoveRow) -> dict[str, Any]:
    """Return one process's move of a breaker, and its cause."""
    return {
        "at": _format_for_programs(row.at),
        "process": row.holder,
        "call": row.call_id,
        **_pick_fields(row, "before", "after"),
        "cause": printable(row.cause),
        "severity": row.severity,
    }


def _explain_failure(row: FailureRow, vendors: Vendors) -> str:
    return printable(explain(row.kind, row.reason, vendor_at(vendors, row.stage, row.provider)))


def _failure_as_json(row: FailureRow, vendors: Vendors) -> dict[str, Any]:
    """Return a failure, with a sentence that explains it."""
    return {
        "at": _format_for_programs(row.at),
        "call": row.call_id,
        **_pick_fields(row, "turn", "stage", "provider", "kind", "scope"),
        **_pick_fields(row, "severity", "attempt", "permanent"),
        "reason": printable(row.reason),
        "says": _explain_failure(row, vendors),
    }


def _by_verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many rows have each verdict; rows without one are left out."""
    found = Counter(row["verdict"] for row in rows)
    return {verdict.value: found[verdict.value] for verdict in CallerVerdict}


def _call_as_json(row: CallRow) -> dict[str, Any]:
    """Return a call's facts; both numbers are masked."""
    return {
        "id": row.id,
        "started_at": _format_for_programs(row.started_at),
        "ended_at": _format_for_programs(row.ended_at),
        **_pick_fields(row, "transport", "direction", "agent"),
        "caller": mask_number(row.caller),
        "called": mask_number(row.called),
        **_pick_fields(row, "state", "reason", "outcome"),
        **_pick_fields(row, "length_s", "turns", "failures", "failovers"),
        "process": row.holder,
        **_pick_fields(row, "cost", "currency"),
        **_pick_fields(row, "verdict", "why"),
    }


def _turn_as_json(row: TurnRow) -> dict[str, Any]:
    """Return a turn with its wait in seconds, its verdict and the rungs that served it."""
    return {
        "at": _format_for_programs(row.began_at),
        "call": row.call_id,
        **_pick_fields(row, "turn", "v2v_s", "verdict", "why"),
        "parts": dict(row.parts),
        **_pick_fields(row, "stt", "llm", "tts"),
    }


def _pick_fields(row: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _cost_by_currency(calls: Iterable[CallRow]) -> dict[str, float]:
    """Return the cost of the calls by currency, as far as prices are known."""
    costs: dict[str, float] = {}
    for call in calls:
        if call.cost is not None:
            costs[call.currency] = costs.get(call.currency, 0.0) + call.cost
    return costs


def _masked_value(value: Any) -> Any:
    """Return an event's value masked for the log."""
    match value:
        case str():
            return printable(value)
        case Mapping():
            return {str(name): _masked_value(item) for name, item in value.items()}
        case Sequence():
            return [_masked_value(item) for item in value]
        case _:
            return value


def _format_for_programs(at: datetime | None) -> str | None:
    """Return a moment for programs, in UTC."""
    return iso(at, "milliseconds") or None
