"""The live page: alerts and leads as they come; plain HTML that works without a script."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from analytics.policy import Policy
from api.access import COOKIE, authenticate
from api.alarms import AlarmFiguresAnswer, judge_figures
from api.alert_answers import AlertAnswer, AlertFoldAnswer, describe_alert, describe_fold
from api.alerts import evidence_days, find
from api.charts import EvidenceChart, make_evidence_chart
from api.clips import clip_of
from api.context import Db, limit_rate
from api.hub import Hub
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, OpenedSession, change_password, log_in, set_cookie
from domain.access import Principal
from domain.alerting import AlertClass
from store.access import scope, sessions
from store.access.users import UserCredentials
from store.alerts import lists, suppressions
from store.alerts.alerts import Alert
from store.alerts.figures import FigureScope
from store.alerts.lists import AlertFilter
from store.database.connection import Connection
from store.register import places

router = APIRouter(include_in_schema=False)
LANGUAGE_COOKIE = "anju_lang"
#: Cards of one group: a page is for what is next, the API for all of it.
CARDS = 24
#: Cards of a group whose days are drawn; the others draw theirs when they are put in place anew,
#: one by one.
CHARTS = 8


class Pages:
    """Templates and words, read once when the application is made."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("console"),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        locale = files("console").joinpath("locale")
        self.words = {
            lang: tomllib.loads(locale.joinpath(f"{lang}.toml").read_text("utf-8"))
            for lang in ("zh", "en")
        }

    def render(self, name: str, language: str, **values: Any) -> str:
        """Render a template in a language."""
        return self._templates.get_template(name).render(
            t=self.words[language], lang=language, **values
        )


def language_of(request: Request) -> str:
    """Return the reader's language: chosen, then the browser's, then Chinese."""
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    if chosen in ("zh", "en"):
        return chosen
    prefers_english = request.headers.get("accept-language", "").lower().startswith("en")
    return "en" if prefers_english else "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReader:
    """Who reads a page, in which language, and what the page is made from."""

    request: Request
    connection: Connection
    principal: Principal
    language: str

    @property
    def policy(self) -> Policy:
        """The policy that words alerts."""
        policy: Policy = self.request.app.state.policy
        return policy

    @property
    def pages(self) -> Pages:
        """The templates and words of the console."""
        pages: Pages = self.request.app.state.pages
        return pages


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCard:
    """What the card of one alert shows."""

    alert: AlertAnswer
    chart: EvidenceChart | None
    has_clip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertGroup:
    """What one group of the live page shows: its folds, and a card for each other alert."""

    name: str
    classes: str
    """The classes that it shows, with spaces between them."""
    cards: Sequence[AlertCard]
    folds: Sequence[AlertFoldAnswer]
    count: int
    more: bool
    """Whether there are more alerts than cards."""


#: The live page's groups, and the classes that each shows.
GROUPS: dict[str, frozenset[str]] = {
    "safety": frozenset({AlertClass.LIFE_SAFETY}),
    "hazards": frozenset({AlertClass.HAZARD, AlertClass.WELFARE}),
    "leads": frozenset({AlertClass.COMPLIANCE}),
    "data": frozenset({AlertClass.DATA}),
    "privacy": frozenset({AlertClass.PRIVACY}),
}


def make_card(reader: PageReader, alert: Alert, *, with_chart: bool = True) -> AlertCard:
    """Gather what one alert's card shows, with its days drawn or without."""
    chart = None
    if with_chart:
        days = evidence_days(reader.connection, reader.principal, alert)
        names = reader.pages.words[reader.language]["chart"]
        chart = make_evidence_chart(alert, days, names)
    return AlertCard(
        alert=describe_alert(alert, reader.policy, reader.language),
        chart=chart,
        has_clip=clip_of(alert) is not None,
    )


def make_group(reader: PageReader, name: str) -> AlertGroup:
    """Gather what one group shows."""
    classes = GROUPS[name] & reader.principal.classes
    estates = reader.principal.estate_ids
    if name == "leads":
        alerts = lists.list_leads(reader.connection, estates, None, CARDS)
        folds = []
    else:
        wanted = AlertFilter(estates=estates, classes=classes)
        fold_from = reader.policy.alarms.fold_from
        alerts = lists.list_alerts(reader.connection, wanted, limit=CARDS, fold_from=fold_from)
        folds = lists.list_folds(reader.connection, wanted, fold_from)
    return AlertGroup(
        name=name,
        classes=" ".join(sorted(classes)),
        cards=[make_card(reader, alert, with_chart=n < CHARTS) for n, alert in enumerate(alerts)],
        folds=[describe_fold(fold, reader.policy, reader.language) for fold in folds],
        count=len(alerts) + sum(fold.alerts for fold in folds),
        more=len(alerts) == CARDS,
    )


def require_reader(request: Request, connection: Db) -> PageReader:
    """Find who reads a part of a page.

    Raises: Problem 401 where nobody is logged in.
    """
    principal = authenticate(request, connection)
    if principal is None:
        raise Problem(401, "log_in", "log in first")
    return PageReader(
        request=request,
        connection=connection,
        principal=principal,
        language=language_of(request),
    )


Reader = Annotated[PageReader, Depends(require_reader, scope="function")]


@router.get("/", response_class=HTMLResponse)
def live(request: Request, connection: Db) -> Response:
    """Show the live page."""
    language = language_of(request)
    principal = authenticate(request, connection)
    if principal is None or principal.must_change_password:
        return RedirectResponse("/login", 303)
    reader = PageReader(
        request=request, connection=connection, principal=principal, language=language
    )
    hub: Hub = request.app.state.hub
    # Taken before anything is read: the stream brings what changes meanwhile.
    hub.place()
    place = hub.word(hub.safe)
    html = reader.pages.render(
        "live.html",
        language,
        place=place,
        groups=[
            make_group(reader, name)
            for name, classes in GROUPS.items()
            if classes & principal.classes
        ],
        principal=principal,
        figures=_read_figures(reader),
        windows=suppressions.list_windows(connection, principal.estate_ids),
        csrf=request.state.csrf,
        estates=places.list_estates(connection, principal.estate_ids),
    )
    response = HTMLResponse(html)
    if request.query_params.get("lang") in ("zh", "en"):
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86_400, samesite="lax")
    return response


def _read_figures(reader: PageReader) -> AlarmFiguresAnswer:
    """Read the alarm figures of the last day."""
    now = datetime.now(UTC)
    scope = FigureScope(
        estates=reader.principal.estate_ids,
        classes=reader.principal.classes,
        since=now - timedelta(days=1),
        now=now,
    )
    return judge_figures(reader.connection, scope, reader.policy.alarms)


@router.get("/live/{name}", response_class=HTMLResponse)
def live_group(
    name: Literal["safety", "hazards", "leads", "data", "privacy"], reader: Reader
) -> HTMLResponse:
    """Show one group anew, for the live page to put in place when much has changed."""
    group = make_group(reader, name)
    return HTMLResponse(reader.pages.render("group.html", reader.language, group=group))


@router.get("/alerts/{alert_id}/card", response_class=HTMLResponse)
def alert_card(alert_id: int, reader: Reader) -> HTMLResponse:
    """Show one alert's card, for the live page to put in place."""
    card = make_card(reader, find(reader.connection, reader.principal, alert_id))
    return HTMLResponse(reader.pages.render("card.html", reader.language, card=card))


@router.get("/worker.js")
def service_worker() -> Response:
    """Serve the service worker, which shows pushed notices.

    It is served at the root so that it may act for the whole site.
    """
    script = files("console").joinpath("static", "worker.js").read_text("utf-8")
    return Response(script, media_type="text/javascript")


@router.get("/login", response_class=HTMLResponse)
def login_form(request: Request) -> HTMLResponse:
    """Show the log-in form."""
    pages: Pages = request.app.state.pages
    return HTMLResponse(pages.render("login.html", language_of(request), wrong=None))


@router.post("/login", response_class=HTMLResponse)
def login(
    request: Request,
    connection: Db,
    name: Annotated[str, Form(max_length=60)],
    password: Annotated[str, Form(max_length=200)],
    new_password: Annotated[str | None, Form(max_length=200)] = None,
) -> Response:
    """Log in from the form, and change a first password there."""
    language = language_of(request)
    pages: Pages = request.app.state.pages
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://", 1)[-1] != request.headers.get("host"):
        raise Problem(403, "origin", "this form was sent from another site")
    try:
        session = log_in(request, connection, name, password)
        if session.user.must_change_password:
            session = _with_new_password(request, connection, session.user, password, new_password)
    except Problem as error:
        # A session that was opened with a first password must not outlive this answer; refusals are
        # on record already.
        connection.rollback()
        change = error.code in ("change_password", "weak_password")
        said = error.detail if error.code == "weak_password" else None
        html = pages.render("login.html", language, wrong=error.code, said=said, must_change=change)
        return HTMLResponse(html, status_code=error.status_code)
    response = RedirectResponse("/", 303)
    set_cookie(response, session.token, secure=request.app.state.cookie_secure)
    return response


def _with_new_password(
    request: Request, connection: Db, user: UserCredentials, old: str, new: str | None
) -> OpenedSession:
    """Change a first password and log in with the new one; returns the new session.

    Raises: Problem; then the session that was opened with the old one is gone with the transaction.
    """
    if not new:
        raise Problem(403, "change_password", "change your first password")
    limit_rate(request, f"code:{user.id}", TRIES_PER_MINUTE)
    with scope.signing_in(connection):
        change_password(connection, user, old, new)
    return log_in(request, connection, user.name, new)


@router.get("/logout")
def logout(request: Request, connection: Db) -> Response:
    """Log out."""
    with scope.signing_in(connection):
        sessions.close_session(connection, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response
