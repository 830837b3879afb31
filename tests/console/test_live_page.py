"""The live page in a real Chromium.

An alert appears by itself within a second, is acknowledged, in both languages.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from analytics import watch
from analytics.policy import load_policy
from anju.demo.embedded import Redis, find_program
from anju.processes import free_port
from api import clips
from api.app import create_app
from domain.alerting import AlertKey, SubjectKind
from domain.calendar import to_ms
from store.alerts.raising import raise_alert
from store.database.connection import connect, open_pool
from store.ingest import log
from store.live.bus import ALERTS_CHANNEL, LiveBus
from store.series.readings import EventRow
from tests.api.conftest import site  # noqa: F401

#: Where pictures of the page are put for a person to look at; nowhere by default.
SHOTS = Path(os.environ["ANJU_TEST_SHOTS"]) if "ANJU_TEST_SHOTS" in os.environ else None
pytestmark = pytest.mark.real
CHROMIUM = (
    find_program("chromium") or find_program("chromium-browser") or find_program("google-chrome")
)
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def page(site: dict[str, Any], redis: Redis) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not on this machine")
    from playwright.sync_api import sync_playwright

    pool, port = open_pool(site["dsn"], size=6), free_port()
    app = create_app(pool, LiveBus(redis.url), load_policy())
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        opened = browser.new_page(locale="zh-CN")
        opened.faults, opened.app = [], app
        opened.on(
            "console",
            lambda m: (
                opened.faults.append(m.text) if m.type == "error" and "401" not in m.text else None
            ),
        )
        opened.on("pageerror", lambda e: opened.faults.append(str(e)))
        opened.goto(f"http://127.0.0.1:{port}/")
        yield opened
        browser.close()
    server.should_exit = True
    thread.join(10)
    pool.close()


def log_in(page: Any, site: dict[str, Any], name: str) -> None:
    page.fill("[name=name]", name)
    page.fill("[name=password]", site["users"][name])
    page.click("button")
    page.wait_for_selector("#link.on")


def smoke(site: dict[str, Any], redis: Redis, state: str) -> float:
    """Store a hazard as ingest does, let watch act, and wake the page.

    Returns when it was stored.
    """
    bus = LiveBus(redis.url)
    with connect(site["dsn"]) as connection:
        row = connection.execute("SELECT id FROM devices WHERE code = 'smoke-1'").fetchone()
        assert row is not None
        at = to_ms(datetime.now(UTC))
        event = EventRow(
            device_id=row["id"],
            at_ms=at,
            event_id=f"{at}",
            kind="hazard",
            data={"hazard": "gas", "state": state},
        )
        log.queue_for_watch(connection, [event])
        connection.commit()
        stored = time.monotonic()
        watch.step(connection, load_policy(), datetime.now(UTC), urgent=True)
        connection.commit()
    bus.publish(ALERTS_CHANNEL, "1")
    return stored


def test_an_alert_comes_by_itself_and_is_acknowledged(
    page: Any, site: dict[str, Any], redis: Redis
) -> None:
    log_in(page, site, "compliance")
    assert page.locator(".leads .card").count() == 1 and page.locator(".leads svg").count() == 1
    assert page.locator(".safety .card").count() == 1
    times = []
    for n in range(3):
        stored = smoke(site, redis, "on")
        if n == 0:
            page.wait_for_selector(".safety .card:has-text('燃气泄漏')", timeout=5000)
        times.append(time.monotonic() - stored)
    assert times[0] < 3.0, times
    card = page.locator(".safety .card:has-text('燃气泄漏')")
    card.locator("button.step[data-step=acknowledge]").click()
    page.wait_for_selector(".safety .card:has-text('燃气泄漏') .acked")
    smoke(site, redis, "off")
    page.wait_for_selector(".safety .card:has-text('燃气泄漏')", state="detached", timeout=5000)
    assert page.faults == []


def test_a_storm_is_one_row_and_a_camera_waits_for_a_person(
    page: Any, site: dict[str, Any], redis: Redis
) -> None:
    log_in(page, site, "compliance")
    with connect(site["dsn"]) as connection:
        row = connection.execute(
            "SELECT id, estate_id FROM devices WHERE code = 'door-1'"
        ).fetchone()
        assert row is not None
        policy, now = load_policy(), datetime.now(UTC)
        for n in range(30):
            key = AlertKey(
                detector="device:tamper", subject_kind=SubjectKind.DEVICE, subject_id=1000 + n
            )
            shown = policy.for_event("device", "tamper")
            assert shown is not None
            raise_alert(
                connection,
                watch.observed_alert(
                    policy,
                    shown,
                    watch.WatchedSubject(key=key, estate_id=row["estate_id"], name=f"em-{n}"),
                    now,
                    reasons=("tamper",),
                    evidence={},
                ),
                actor="test",
            )
        camera = policy.for_event("hazard", "ebike_in_lift")
        assert camera is not None
        key = AlertKey(
            detector="hazard:ebike_in_lift", subject_kind=SubjectKind.DEVICE, subject_id=row["id"]
        )
        raise_alert(
            connection,
            watch.observed_alert(
                policy,
                camera,
                watch.WatchedSubject(key=key, estate_id=row["estate_id"], name="lift 3"),
                now,
                reasons=("ebike_in_lift",),
                evidence={},
            ),
            actor="test",
        )
        connection.commit()
    LiveBus(redis.url).publish(ALERTS_CHANNEL, "31")
    page.wait_for_selector(".data .fold:has-text('× 30')")
    assert page.locator(".data .card").count() == 1
    page.wait_for_selector(".hazards .card:has-text('待人工复核')")
    page.screenshot(path=str(SHOTS / "storm.png"), full_page=True) if SHOTS else None
    page.click(".hazards button[data-step=confirm]")
    page.wait_for_selector(".hazards .card .acked:has-text('已核实')")
    page.click(".data .ack-all")
    page.wait_for_selector(".data .fold:has-text('未确认 0')")
    page.once("dialog", lambda dialog: dialog.accept("修电梯"))
    page.click(".hazards button[data-step=shelve]")
    page.wait_for_selector(".hazards .card", state="detached")
    page.click("#sound")
    assert page.get_attribute("#sound", "aria-pressed") == "true" and page.faults == []


def test_a_cameras_pictures_are_links_to_the_estate(page: Any, site: dict[str, Any]) -> None:
    with connect(site["dsn"]) as connection:
        connection.execute(
            """
            UPDATE alerts
            SET evidence = '{"device": "cam-1", "data": {"clip": "20261122t011027-b434ac8e82f9"}}'
            WHERE id = %s
            """,
            [site["alerts"]["fire"]],
        )
        connection.commit()
    log_in(page, site, "compliance")
    page.screenshot(path=str(SHOTS / "clip.png")) if SHOTS else None
    page.click(".safety .card button.clip")
    page.wait_for_selector(".safety .pictures:has-text('未配置')")
    page.app.state.clips = {
        "es": clips.ClipPlace(url="http://10.0.0.1:8911", key="a key of sixteen characters")
    }
    page.reload()
    page.click(".safety .card button.clip")
    page.wait_for_selector(".safety .pictures a:has-text('录像')")
    still, clip = (
        page.get_attribute(f".safety .pictures a:nth-child({n})", "href") for n in (1, 2)
    )
    assert (
        still.startswith("http://10.0.0.1:8911/clips/cam-1/20261122t011027-b434ac8e82f9.jpg?until=")
        and ".webp?" in clip
    )
    page.screenshot(path=str(SHOTS / "clip_links.png")) if SHOTS else None
    assert page.locator(".leads .card button.clip").count() == 0
    assert [fault for fault in page.faults if "409" not in fault] == []


def test_what_devices_say_is_text_and_english_is_there(page: Any, site: dict[str, Any]) -> None:
    log_in(page, site, "compliance")
    assert page.evaluate("() => window.__pwned === undefined")
    page.click("text=English")
    page.wait_for_selector("text=Leads, likeliest first")
    assert (
        "Possibly unoccupied" in page.inner_text(".leads")
        and page.get_attribute("html", "lang") == "en"
    )
    page.click("text=Log out")
    page.wait_for_selector("[name=password]")
    page.fill("[name=name]", "guard")
    page.fill("[name=password]", "wrong")
    page.click("button")
    assert "wrong" in page.inner_text("[role=alert]")
    log_in(page, site, "guard")
    assert page.locator(".leads").count() == 0 and page.locator(".safety .card").count() == 1
    assert page.faults == []
