"""Alerts and leads with their evidence, folds of many, and a person's steps on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.access import AlertOperator, AlertReader, LeadReader
from api.alert_answers import (
    AlertDetailAnswer,
    AlertFoldList,
    AlertPage,
    AlertReferenceAnswer,
    AlertVersionAnswer,
    BulkStepAnswer,
    LeadList,
    RefusedStep,
    describe_alert,
    describe_alert_in_detail,
    describe_fold,
)
from api.context import AuditFacts, Language, RequestContext
from api.idempotency import IdempotentRoute
from api.problems import Problem
from casework import alert_steps
from casework.alert_steps import StepTarget, UnknownAlert
from domain.access import Action, Principal
from domain.alerting import AlertClass, NotAllowed, Severity, SubjectKind
from domain.ids import ID_PATTERN
from store.alerts import lists
from store.alerts.alerts import Alert, find_alert
from store.alerts.changes import StaleVersion, list_changes
from store.alerts.evidence import EvidenceDay, list_evidence_days
from store.alerts.lists import AlertFilter
from store.database.connection import Connection

router = APIRouter(prefix="/api/v1", tags=["alerts"], route_class=IdempotentRoute)
#: Days before a lead's start that its evidence shows, so that the change can be seen.
EVIDENCE_DAYS_BEFORE = 30
#: Days after an alert's end that its evidence shows.
EVIDENCE_DAYS_AFTER = 7
#: Alerts that one bulk step touches at most.
MAX_BULK = 500
#: How long an alert is shelved where the request does not say.
DEFAULT_SHELF_HOURS = 8
EstateFilter = Annotated[str | None, Query(pattern=ID_PATTERN, description="code of an estate")]
AlertId = Annotated[int, Path(ge=1, le=2**62, description="number of the alert")]


# Lists --------------------------------------------------------------------------------------------


class AlertQuery(BaseModel):
    """Filter for lists of alerts."""

    model_config = ConfigDict(extra="forbid")
    open: bool = Field(True, description="only alerts that have not ended")
    suppressed: bool | None = Field(
        False, description="true for those held back only, false for those shown only"
    )
    alert_class: AlertClass | None = Field(None, description="only this kind of duty")
    severity: Severity | None = Field(None, description="only this severity")
    estate: str | None = Field(None, pattern=ID_PATTERN, description="code of an estate")
    detector: str | None = Field(
        None, max_length=60, pattern=r"^[a-z_:]+$", description="only what this detector found"
    )
    assignee: str | None = Field(
        None, max_length=60, pattern=r"^[^\x00]*$", description="only what this person looks after"
    )
    unacknowledged: bool = Field(False, description="only what nobody has acknowledged")

    def to_filter(self, principal: Principal, before: int | None = None) -> AlertFilter:
        """Make the store's filter within a principal's scope."""
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
    """Filter for lists of alerts, and the language of their words."""

    lang: str = Field("zh", pattern="^(zh|en)$", description="language of titles and sentences")


class AlertPageQuery(AlertLanguageQuery):
    """Filter for lists of alerts, and which page of them."""

    before: int | None = Field(None, ge=1, le=2**62, description="only lower numbers than this")
    limit: int = Field(50, ge=1, le=200, description="alerts of a page at most")
    fold: bool = Field(False, description="leave out those that /alerts/folds shows as one row")


@router.get("/alerts", operation_id="listAlerts")
def list_alerts(context: AlertReader, page: Annotated[AlertPageQuery, Query()]) -> AlertPage:
    """List alerts within your reach, newest first."""
    fold_from = context.policy.alarms.fold_from if page.fold else None
    wanted = page.to_filter(context.principal, page.before)
    alerts = lists.list_alerts(context.connection, wanted, limit=page.limit, fold_from=fold_from)
    is_full = len(alerts) == page.limit
    return AlertPage(
        items=[describe_alert(alert, context.policy, page.lang) for alert in alerts],
        next=alerts[-1].id if is_full else None,
    )


@router.get("/alerts/folds", operation_id="listFolds")
def list_folds(
    context: AlertReader, query: Annotated[AlertLanguageQuery, Query()]
) -> AlertFoldList:
    """List where one detector has many alerts at one estate. Life safety and leads never fold."""
    wanted = query.to_filter(context.principal)
    folds = lists.list_folds(context.connection, wanted, context.policy.alarms.fold_from)
    return AlertFoldList(items=[describe_fold(fold, context.policy, query.lang) for fold in folds])


@router.get("/leads", operation_id="listLeads")
def list_leads(
    context: LeadReader,
    estate: EstateFilter = None,
    visits: Annotated[int, Query(ge=1, le=500, description="visits that can be made")] = 20,
    lang: Language = "zh",
) -> LeadList:
    """List the compliance leads that stand, likeliest first, as many as visits can be made."""
    leads = lists.list_leads(context.connection, context.principal.estate_ids, estate, visits)
    return LeadList(items=[describe_alert(lead, context.policy, lang) for lead in leads])


# One alert ----------------------------------------------------------------------------------------


@router.get("/alerts/{alert_id:int}", operation_id="getAlert")
def get_alert(
    context: AlertReader, alert_id: AlertId, response: Response, lang: Language = "zh"
) -> AlertDetailAnswer:
    """Read an alert with its record and the facts behind it. The ETag is for If-Match."""
    alert = find(context.connection, context.principal, alert_id)
    if alert.subject_kind is SubjectKind.UNIT:
        subject = f"unit:{alert.estate}/{alert.subject}"
        context.audit.describe_read(AuditFacts(subject=subject, estate_id=alert.estate_id))
    response.headers["ETag"] = f'"{alert.version}"'
    return describe_alert_in_detail(
        alert,
        context.policy,
        lang,
        days=evidence_days(context.connection, context.principal, alert),
        history=list_changes(context.connection, alert_id),
    )


def find(connection: Connection, principal: Principal, alert_id: int) -> Alert:
    """Read an alert within a principal's scope.

    Raises: UnknownAlert.
    """
    alert = find_alert(connection, alert_id, principal.estate_ids, principal.classes)
    if alert is None:
        raise UnknownAlert(f"alert {alert_id}")
    return alert


def evidence_days(connection: Connection, principal: Principal, alert: Alert) -> list[EvidenceDay]:
    """List the days behind an alert about a unit; none where the principal may not see them."""
    if alert.subject_kind is not SubjectKind.UNIT or not principal.may(Action.SEE_UNITS):
        return []
    zone = ZoneInfo(alert.timezone)
    end_at = alert.until_at or alert.last_seen_at
    first = alert.since_at.astimezone(zone).date() - timedelta(days=EVIDENCE_DAYS_BEFORE)
    last = end_at.astimezone(zone).date() + timedelta(days=EVIDENCE_DAYS_AFTER)
    return list_evidence_days(connection, alert.subject_id, first, last)


# Steps --------------------------------------------------------------------------------------------


class StepName(StrEnum):
    """What a person can do about an alert."""

    ACKNOWLEDGE = "acknowledge"
    CONFIRM = "confirm"
    DISMISS = "dismiss"
    SHELVE = "shelve"
    OUT_OF_SERVICE = "out-of-service"
    RESTORE = "restore"
    ASSIGN = "assign"


_STEPS_WITH_NOTE: dict[StepName, Callable[..., int]] = {
    StepName.ACKNOWLEDGE: alert_steps.acknowledge,
    StepName.CONFIRM: alert_steps.confirm,
    StepName.DISMISS: alert_steps.dismiss,
    StepName.OUT_OF_SERVICE: alert_steps.take_out_of_service,
    StepName.RESTORE: alert_steps.restore,
}


class AlertStepRequest(BaseModel):
    """A step on an alert. `hours` and `assignee` are for the steps that need them."""

    model_config = ConfigDict(extra="forbid")
    note: str | None = Field(
        None,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="the reason; some steps require it",
        examples=["called the tenant: in hospital"],
    )
    hours: float | None = Field(
        None, gt=0, le=24 * 7, description="how long an alert is shelved, in hours"
    )
    assignee: str | None = Field(
        None,
        max_length=60,
        pattern=r"^[^\x00]*$",
        description="whom it is assigned to; null for nobody",
    )


class BulkStepRequest(AlertStepRequest):
    """One step on many alerts: by their numbers, or all that a filter means."""

    step: StepName = Field(description="the step to take")
    ids: list[Annotated[int, Field(strict=True, ge=1, le=2**62)]] | None = Field(
        None, max_length=MAX_BULK, description="numbers of the alerts"
    )
    where: AlertQuery | None = Field(None, description="the alerts that this filter means")

    @model_validator(mode="after")
    def _require_ids_or_filter(self) -> BulkStepRequest:
        if (self.ids is None) == (self.where is None):
            raise ValueError("give either `ids` or `where`")
        return self


class CommentRequest(BaseModel):
    """A remark."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="the remark",
        examples=["the lock is ordered"],
    )


def look_for_updates(request: Request, tasks: BackgroundTasks) -> None:
    """Have the open streams look for updates as soon as the answer has been sent."""
    tasks.add_task(request.app.state.hub.look)


UpdateStreams = Depends(look_for_updates)


@router.post("/alerts/bulk", operation_id="stepOnManyAlerts", dependencies=[UpdateStreams])
def step_on_many_alerts(context: AlertOperator, body: BulkStepRequest) -> BulkStepAnswer:
    """Take one step on many alerts. Each is tried by itself; the refused ones are listed."""
    alert_ids = _bulk_ids(context, body)
    done = []
    refused = []
    for alert_id in alert_ids:
        try:
            version = take_step(context, body.step, alert_id, body)
        except UnknownAlert:
            problem = "no such alert within your reach"
            refused.append(RefusedStep(id=alert_id, code="unknown", problem=problem))
        except NotAllowed as error:
            refused.append(RefusedStep(id=alert_id, code="not_allowed", problem=str(error)))
        except StaleVersion as error:
            refused.append(RefusedStep(id=alert_id, code="stale", problem=str(error)))
        else:
            done.append(AlertVersionAnswer(id=alert_id, version=version))
    may_be_cut = body.ids is None and len(alert_ids) == MAX_BULK
    return BulkStepAnswer(done=done, refused=refused, more=may_be_cut)


def _bulk_ids(context: RequestContext, body: BulkStepRequest) -> list[int]:
    """List the alerts that a request means, each once."""
    if body.where is None:
        return list(dict.fromkeys(body.ids or ()))
    wanted = body.where.to_filter(context.principal)
    return [alert.id for alert in lists.list_alerts(context.connection, wanted, limit=MAX_BULK)]


@router.post("/alerts/{alert_id}/comments", operation_id="commentAlert", status_code=201)
def comment_alert(
    context: AlertOperator, alert_id: AlertId, body: CommentRequest
) -> AlertReferenceAnswer:
    """Add a remark to an alert's record."""
    alert_steps.comment(context.connection, context.principal, alert_id, body.text)
    return AlertReferenceAnswer(id=alert_id)


@router.post("/alerts/{alert_id}/{step}", operation_id="stepOnAlert", dependencies=[UpdateStreams])
def step_on_alert(
    context: AlertOperator,
    alert_id: AlertId,
    step: StepName,
    body: AlertStepRequest,
    response: Response,
    if_match: Annotated[str | None, Header(description="the ETag that you read")] = None,
) -> AlertVersionAnswer:
    """Take a step on an alert.

    409 where its state or your role does not allow it, 412 where it changed since you read it.
    """
    version = take_step(context, step, alert_id, body, expected_version=_read_version(if_match))
    response.headers["ETag"] = f'"{version}"'
    return AlertVersionAnswer(id=alert_id, version=version)


def take_step(
    context: RequestContext,
    name: StepName,
    alert_id: int,
    body: AlertStepRequest,
    *,
    expected_version: int | None = None,
) -> int:
    """Take a person's step on an alert; returns its new version.

    Raises: UnknownAlert, NotAllowed, StaleVersion.
    """
    connection = context.connection
    principal = context.principal
    target = StepTarget(alert_id=alert_id, version=expected_version)
    if name is StepName.SHELVE:
        now = datetime.now(UTC)
        until_at = now + timedelta(hours=body.hours or DEFAULT_SHELF_HOURS)
        return alert_steps.shelve(
            connection, principal, target, until_at=until_at, now=now, note=body.note
        )
    if name is StepName.ASSIGN:
        return alert_steps.assign(connection, principal, target, assignee=body.assignee)
    return _STEPS_WITH_NOTE[name](connection, principal, target, note=body.note)


def _read_version(if_match: str | None) -> int | None:
    """Read the version in an If-Match header.

    Raises: Problem 412 where it is no version.
    """
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Problem(
            412, "stale", f"If-Match {if_match[:40]!r} is no version of this alert; read it again"
        )
    return int(text)
