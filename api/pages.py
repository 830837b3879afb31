"""The live page: alerts and leads as they come, each with its evidence; plain HTML that works without a script."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from api.access import COOKIE, authenticate
from api.alarms import figures_of
from api.alerts import describe, evidence_days, find
from api.charts import evidence_chart
from api.clips import clip_of
from api.context import Db, limit_rate
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, OpenedSession, change_password, log_in, set_cookie
from domain.access import Principal
from domain.alerting import AlertClass
from store.access import scope, sessions
from store.access.users import UserCredentials
from store.alerts import lists, suppressions
from store.alerts.alerts import Alert
from store.alerts.lists import AlertFilter
from store.register import places

router = APIRouter(include_in_schema=False)
LANGUAGE_COOKIE = "anju_lang"
#: Cards of one group: a page is for what is next, the API for all of it.
CARDS = 24
#: Cards of a group whose days are drawn; the others draw theirs when they are put in place anew, one by one.
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
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh"


def card(
    request: Request,
    connection: Any,
    principal: Principal,
    row: Alert,
    language: str,
    *,
    drawn: bool = True,
) -> dict[str, Any]:
    """Gather what one alert's card shows, with its days drawn or without."""
    pages: Pages = request.app.state.pages
    days = evidence_days(connection, principal, row) if drawn else []
    chart = evidence_chart(row, days, pages.words[language]["chart"])
    return {
        "row": row,
        "said": describe(request, row, language),
        "chart": chart,
        "clip": clip_of(row) is not None,
    }


#: The live page's groups, and the classes that each shows.
GROUPS: dict[str, frozenset[str]] = {
    "safety": frozenset({AlertClass.LIFE_SAFETY}),
    "hazards": frozenset({AlertClass.HAZARD, AlertClass.WELFARE}),
    "leads": frozenset({AlertClass.COMPLIANCE}),
    "data": frozenset({AlertClass.DATA}),
    "privacy": frozenset({AlertClass.PRIVACY}),
}


def group(
    request: Request, connection: Any, principal: Principal, name: str, language: str
) -> dict[str, Any]:
    """Gather what one group shows: its folds, and a card for each alert that stands for itself."""
    policy, shown = request.app.state.policy, GROUPS[name] & principal.classes
    wanted, fold_from = (
        AlertFilter(estates=principal.estate_ids, classes=shown),
        policy.alarms.fold_from,
    )
    if name == "leads":
        rows, folds = lists.list_leads(connection, principal.estate_ids, None, CARDS), []
    else:
        rows = lists.list_alerts(connection, wanted, limit=CARDS, fold_from=fold_from)
        folds = lists.list_folds(connection, wanted, fold_from)
    return {
        "name": name,
        "classes": " ".join(sorted(shown)),
        "cards": [
            card(request, connection, principal, row, language, drawn=n < CHARTS)
            for n, row in enumerate(rows)
        ],
        "folds": [
            {**asdict(fold), "title": policy.title(fold.detector, language)} for fold in folds
        ],
        "count": len(rows) + sum(fold.alerts for fold in folds),
        "more": len(rows) == CARDS,
    }


@router.get("/", response_class=HTMLResponse)
def live(request: Request, connection: Db) -> Response:
    """Show the live page."""
    language = language_of(request)
    principal = authenticate(request, connection)
    if principal is None or principal.must_change_password:
        return RedirectResponse("/login", 303)
    pages: Pages = request.app.state.pages
    hub = request.app.state.hub
    # Taken before anything is read: what changes meanwhile is told by the stream.
    hub.place()
    place = hub.word(hub.safe)
    html = pages.render(
        "live.html",
        language,
        place=place,
        groups=[
            group(request, connection, principal, name, language)
            for name, classes in GROUPS.items()
            if classes & principal.classes
        ],
        who=principal,
        figures=figures_of(request, connection, principal, principal.estate_ids, 24),
        windows=suppressions.list_windows(connection, principal.estate_ids),
        csrf=request.state.csrf,
        estates=places.list_estates(connection, principal.estate_ids),
    )
    response = HTMLResponse(html)
    if request.query_params.get("lang") in ("zh", "en"):
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86_400, samesite="lax")
    return response


@router.get("/live/{name}", response_class=HTMLResponse)
def live_group(
    name: Literal["safety", "hazards", "leads", "data", "privacy"], request: Request, connection: Db
) -> HTMLResponse:
    """Show one group anew, for the live page to put in place when much has changed."""
    principal = authenticate(request, connection)
    if principal is None:
        raise Problem(401, "log_in", "log in first")
    language = language_of(request)
    pages: Pages = request.app.state.pages
    return HTMLResponse(
        pages.render(
            "group.html", language, group=group(request, connection, principal, name, language)
        )
    )


@router.get("/alerts/{alert_id}/card", response_class=HTMLResponse)
def alert_card(alert_id: int, request: Request, connection: Db) -> HTMLResponse:
    """Show one alert's card, for the live page to put in place."""
    principal = authenticate(request, connection)
    if principal is None:
        raise Problem(401, "log_in", "log in first")
    language = language_of(request)
    pages: Pages = request.app.state.pages
    return HTMLResponse(
        pages.render(
            "card.html",
            language,
            card=card(
                request, connection, principal, find(connection, principal, alert_id), language
            ),
        )
    )


@router.get("/worker.js")
def service_worker() -> Response:
    """Serve the service worker, which shows pushed notices; it stands at the root so that it may act for the whole site."""
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
        # A session that was opened with a first password must not outlive this answer; refusals are on record already.
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
