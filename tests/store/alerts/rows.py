"""Alerts for tests that need no database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from store.alerts.alerts import Alert

AT = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)


def make_alert(**values: Any) -> Alert:
    """Make a smoke alert of the estate "es"; `values` are the columns that differ."""
    columns = {
        "id": 3,
        "estate": "es",
        "estate_id": 1,
        "timezone": "Asia/Shanghai",
        "detector": "hazard:smoke",
        "subject_kind": "device",
        "subject_id": 1,
        "subject": "smoke-1",
        "dedup_key": "",
        "alert_class": "life_safety",
        "severity": "critical",
        "score": 1.0,
        "condition": "active",
        "acknowledgement": "unacknowledged",
        "acknowledged_at": None,
        "acknowledged_by": None,
        "suppression": "none",
        "suppressed_because": None,
        "assignee": None,
        "latched": True,
        "review": False,
        "drill": False,
        "reasons": ["smoke"],
        "evidence": {},
        "policy_version": "1",
        "since_at": AT,
        "until_at": None,
        "occurrences": 1,
        "raised_at": AT,
        "last_seen_at": AT,
        "ended_at": None,
        "version": 1,
        **values,
    }
    return Alert(**columns)
