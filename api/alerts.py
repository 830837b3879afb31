"""Alerts and leads with their evidence, folded where there are many, and a person's steps on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, BackgroundTasks, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.access import AlertOperator, AlertReader, LeadReader
from api.context import AuditFacts, Language
from api.idempotency import IdempotentRoute
from api.problems import Problem
from casework import alert_steps
from casework.alert_steps import UnknownAlert
from domain.access import Action, Principal
from domain.alerting import AlertClass, NotAllowed, Severity
from domain.ids import ID_PATTERN
from store.alerts import lists
from store.alerts.alerts import Alert, find_alert
from store.alerts.changes import StaleVersion, list_changes
from store.alerts.lists import AlertFilter
from store.series import unit_days

router = APIRouter(prefix="/api/v1", tags=["alerts"], route_class=IdempotentRoute)
#: Days before a lead's start that its evidence shows, so that the change can be seen.
BEFORE_DAYS = 30
#: Alerts that one bulk step touches at most.
MAX_BULK = 500
EstateFilter = Annotated[str | None, Query(pattern=ID_PATTERN)]
AlertId = Annotated[int, Path(ge=1, le=2**62)]


class StepName(StrEnum):
    """What a person can do about an alert."""

    ACKNOWLEDGE = "acknowledge"
    CONFIRM = "confirm"
    DISMISS = "dismiss"
    SHELVE = "shelve"
    OUT_OF_SERVICE = "out-of-service"
    RESTORE = "restore"
    ASSIGN = "assign"


_PLAIN: dict[StepName, Callable[..., int]] = {
    StepName.ACKNOWLEDGE: alert_steps.acknowledge,
    StepName.CONFIRM: alert_steps.confirm,
    StepName.DISMISS: alert_steps.dismiss,
    StepName.OUT_OF_SERVICE: alert_steps.take_out_of_service,
    StepName.RESTORE: alert_steps.restore,
}

_SHOWN = (
    "id",
    "estate",
    "detector",
    "subject_kind",
    "subject",
    "alert_class",
    "severity",
    "score",
    "condition",
    "acknowledgement",
    "acknowledged_at",
    "acknowledged_by",
    "suppression",
    "suppressed_because",
    "assignee",
    "latched",
    "review",
    "drill",
    "reasons",
    "evidence",
    "policy_version",
    "since_at",
    "until_at",
    "occurrences",
    "raised_at",
    "last_seen_at",
    "ended_at",
    "version",
)


def describe(request: Request, row: Alert, language: str) -> dict[str, Any]:
    """Make an alert's answer: its columns, and its title, sentence and advice in words."""
    policy = request.app.state.policy
    return {
        **{name: getattr(row, name) for name in _SHOWN},
        "title": policy.title(row.detector, language),
        "sentence": policy.sentence(row, language),
        "advice": policy.advice(row.detector, language),
    }


class AlertQuery(BaseModel):
    """Which alerts are meant."""

    model_config = ConfigDict(extra="forbid")
    open: bool = True
    suppressed: bool | None = Field(
        False, description="true for those held back only, false for those shown only"
    )
    alert_class: AlertClass | None = None
    severity: Severity | None = None
    estate: str | None = Field(None, pattern=ID_PATTERN)
    detector: str | None = Field(None, max_length=60, pattern=r"^[a-z_:]+$")
    assignee: str | None = Field(None, max_length=60, pattern=r"^[^\x00]*$")
    unacknowledged: bool = False

    def wanted(self, principal: Principal, before: int | None = None) -> AlertFilter:
        """Make it a question to the store, within a principal's reach."""
        return AlertFilter(
            estates=principal.estate_ids,
            classes=principal.classes,
            open_only=self.open,
            suppressed=self.suppressed,
            alert_class=self.alert_class,
            severity=self.severity,
            estate=self.estate,
            detector=self.detector,
            assignee=self.assignee,
            unacknowledged=self.unacknowledged,
            before_id=before,
        )


class AlertLanguageQuery(AlertQuery):
    """Which alerts are meant, and in which language."""

    lang: str = Field("zh", pattern="^(zh|en)$")


class AlertPageQuery(AlertLanguageQuery):
    """Which alerts to list, and how many."""

    before: int | None = Field(None, ge=1, le=2**62)
    limit: int = Field(50, ge=1, le=200)
    fold: bool = Field(False, description="leave out those that /alerts/folds shows as one row")


@router.get("/alerts", operation_id="listAlerts")
def list_alerts(context: AlertReader, page: Annotated[AlertPageQuery, Query()]) -> dict[str, Any]:
    """List alerts within your reach, newest first; `next` is the `before` of the following page."""
    fold_from = context.policy.alarms.fold_from if page.fold else None
    rows = lists.list_alerts(
        context.connection,
        page.wanted(context.principal, page.before),
        limit=page.limit,
        fold_from=fold_from,
    )
    return {
        "items": [describe(context.request, row, page.lang) for row in rows],
        "next": rows[-1].id if len(rows) == page.limit else None,
    }


@router.get("/alerts/folds", operation_id="listFolds")
def list_folds(
    context: AlertReader, asked: Annotated[AlertLanguageQuery, Query()]
) -> dict[str, Any]:
    """List where many alerts of one detector stand at one estate: one row each. Life safety and leads never fold."""
    rows = lists.list_folds(
        context.connection, asked.wanted(context.principal), context.policy.alarms.fold_from
    )
    return {
        "items": [
            {**asdict(row), "title": context.policy.title(row.detector, asked.lang)} for row in rows
        ]
    }


@router.get("/leads", operation_id="listLeads")
def list_leads(
    context: LeadReader,
    estate: EstateFilter = None,
    visits: Annotated[int, Query(ge=1, le=500)] = 20,
    lang: Language = "zh",
) -> dict[str, Any]:
    """List the compliance leads that stand, likeliest first, as many as visits can be made."""
    return {
        "items": [
            describe(context.request, row, lang)
            for row in lists.list_leads(
                context.connection, context.principal.estate_ids, estate, visits
            )
        ]
    }


def find(connection: Any, principal: Principal, alert_id: int) -> Alert:
    """Read an alert within reach.

    Raises: Unknown.
    """
    row = find_alert(connection, alert_id, principal.estate_ids, principal.classes)
    if row is None:
        raise UnknownAlert(f"alert {alert_id}")
    return row


def evidence_days(connection: Any, principal: Principal, row: Alert) -> list[dict[str, Any]]:
    """Read the unit-day facts behind an alert about a unit, with the weeks before it, where the role may see them."""
    if row.subject_kind != "unit" or not principal.may(Action.SEE_UNITS):
        return []
    zone = ZoneInfo(row.timezone)
    first = row.since_at.astimezone(zone).date()
    last = (row.until_at or row.last_seen_at).astimezone(zone).date() + timedelta(days=7)
    return unit_days.list_unit_days(
        connection, row.subject_id, first - timedelta(days=BEFORE_DAYS), last
    )


@router.get("/alerts/{alert_id:int}", operation_id="getAlert")
def get_alert(
    context: AlertReader,
    alert_id: AlertId,
    response: Response,
    lang: Language = "zh",
) -> dict[str, Any]:
    """Read an alert with its record and the facts behind it. The ETag is for If-Match."""
    row = find(context.connection, context.principal, alert_id)
    if row.subject_kind == "unit":
        context.audit.describe_read(
            AuditFacts(subject=f"unit:{row.estate}/{row.subject}", estate_id=row.estate_id)
        )
    response.headers["ETag"] = f'"{row.version}"'
    days = [
        {
            k: v
            for k, v in day.items()
            if k
            in ("day", "water_l", "water_cover", "energy_kwh", "energy_cover", "entries", "faults")
        }
        for day in evidence_days(context.connection, context.principal, row)
    ]
    return {
        **describe(context.request, row, lang),
        "days": days,
        "history": [asdict(change) for change in list_changes(context.connection, alert_id)],
    }


class AlertStepRequest(BaseModel):
    """A step on an alert. `hours` and `assignee` are for the steps that need them."""

    model_config = ConfigDict(extra="forbid")
    note: str | None = Field(
        None, max_length=500, pattern=r"^[^\x00]*$", examples=["called the tenant: in hospital"]
    )
    hours: float | None = Field(None, gt=0, le=24 * 7, description="how long an alert is shelved")
    assignee: str | None = Field(
        None,
        max_length=60,
        pattern=r"^[^\x00]*$",
        description="whom it is assigned to; null for nobody",
    )


class BulkStepRequest(AlertStepRequest):
    """One step on many alerts: by their ids, or all that a filter means."""

    step: StepName
    ids: list[Annotated[int, Field(strict=True, ge=1, le=2**62)]] | None = Field(
        None, max_length=MAX_BULK
    )
    where: AlertQuery | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> BulkStepRequest:
        if (self.ids is None) == (self.where is None):
            raise ValueError("give either `ids` or `where`")
        return self


class CommentRequest(BaseModel):
    """A remark."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")


def take_step(
    connection: Any,
    principal: Principal,
    name: StepName,
    alert_id: int,
    body: AlertStepRequest,
    version: int | None,
) -> int:
    """Take a person's step on an alert; returns its new version.

    Raises: Unknown, NotAllowed, Stale.
    """
    if name is StepName.SHELVE:
        now = datetime.now(UTC)
        until = now + timedelta(hours=body.hours or 8)
        return alert_steps.shelve(
            connection,
            principal,
            alert_id,
            until_at=until,
            now=now,
            note=body.note,
            version=version,
        )
    if name is StepName.ASSIGN:
        return alert_steps.assign(
            connection, principal, alert_id, assignee=body.assignee, version=version
        )
    return _PLAIN[name](connection, principal, alert_id, version=version, note=body.note)


@router.post("/alerts/bulk", operation_id="stepOnManyAlerts")
def bulk(
    context: AlertOperator,
    body: BulkStepRequest,
    after: BackgroundTasks,
) -> dict[str, Any]:
    """Take one step on many alerts. Each stands for itself: what could not be done is told with its reason, the rest is done."""
    ids = body.ids
    if ids is None:
        assert body.where is not None
        rows = lists.list_alerts(
            context.connection, body.where.wanted(context.principal), limit=MAX_BULK
        )
        ids = [row.id for row in rows]
    done, refused = [], []
    for alert_id in dict.fromkeys(ids):
        try:
            done.append(
                {
                    "id": alert_id,
                    "version": take_step(
                        context.connection, context.principal, body.step, alert_id, body, None
                    ),
                }
            )
        except UnknownAlert:
            refused.append(
                {"id": alert_id, "code": "unknown", "problem": "no such alert within your reach"}
            )
        except NotAllowed as error:
            refused.append({"id": alert_id, "code": "not_allowed", "problem": str(error)})
        except StaleVersion as error:
            refused.append({"id": alert_id, "code": "stale", "problem": str(error)})
    after.add_task(context.hub.look)
    return {"done": done, "refused": refused, "more": body.ids is None and len(ids) == MAX_BULK}


@router.post("/alerts/{alert_id}/comments", operation_id="commentAlert", status_code=201)
def comment_alert(
    context: AlertOperator, alert_id: AlertId, body: CommentRequest
) -> dict[str, Any]:
    """Add a remark to an alert's record."""
    alert_steps.comment(context.connection, context.principal, alert_id, body.text)
    return {"id": alert_id}


@router.post("/alerts/{alert_id}/{step}", operation_id="stepOnAlert")
def step_on_alert(
    context: AlertOperator,
    alert_id: AlertId,
    step: StepName,
    body: AlertStepRequest,
    response: Response,
    after: BackgroundTasks,
    if_match: Annotated[str | None, Header(description="the ETag that you read")] = None,
) -> dict[str, Any]:
    """Take a step on an alert. 409 where its state or your role does not allow it, 412 where it changed since you read it."""
    new = take_step(context.connection, context.principal, step, alert_id, body, _version(if_match))
    response.headers["ETag"] = f'"{new}"'
    after.add_task(context.hub.look)
    return {"id": alert_id, "version": new}


def _version(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Problem(
            412, "stale", f"If-Match {if_match[:40]!r} is no version of this alert; read it again"
        )
    return int(text)
