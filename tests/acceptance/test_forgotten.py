"""A person who was erased while everything ran, and keys that were changed meanwhile: afterwards no
plain trace of that person is anywhere.

Searched are the database's own files with its write-ahead log, a backup made afterwards, Redis, and
every log; as UTF-8, as UTF-16, as the escapes of JSON, and as the hex that PostgreSQL prints.
Before that the same search is shown to find what is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pyotp
import pytest

from anju.demo import embedded
from anju.demo.embedded import root_place
from anju.processes import answers, free_port, start_anju, wait_for
from api.passwords import make_user
from crypto.sealed_values import Scheme
from domain.access import Role
from privacy import person_vault
from privacy.keyring import load_keyring, save_keyring, with_new_key
from store.database.connection import connect, environment
from store.database.migration import Level, migrate
from tests.ingest.conftest import register
from tests.privacy.test_people import number_for

pytestmark = [pytest.mark.real, pytest.mark.long]
NAME, PHONE, NUMBER = "慕容不可见", "13912340987", number_for(5)


def spellings() -> list[bytes]:
    out = []
    for text in (NAME, PHONE, NUMBER):
        out += [
            text.encode(),
            text.encode("utf-16-le"),
            json.dumps(text)[1:-1].encode(),
            text.encode().hex().encode(),
        ]
    return list(dict.fromkeys(out))


def traces(places: list[Path]) -> list[str]:
    found = []
    files = [
        file
        for place in places
        for file in ([place] if place.is_file() else place.rglob("*"))
        if file.is_file()
    ]
    assert len(files) > 3
    for file in files:
        data = file.read_bytes()
        found += [f"{file.name}: {word!r}" for word in spellings() if word in data]
    return found


class Client:
    def __init__(self, port: int, name: str, password: str) -> None:
        self.base, self.token = f"http://127.0.0.1:{port}/api/v1", ""
        self.token = self.ask("POST", "/session", {"name": name, "password": password})["token"]
        secret = self.ask("POST", "/session/second-factor/offer", {"password": password})["secret"]
        self.token = self.ask("POST", "/session/second-factor", {"code": pyotp.TOTP(secret).now()})[
            "token"
        ]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data, method=method, headers={"Content-Type": "application/json"}
        )
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def test_no_plain_trace_is_left(tmp_path: Path) -> None:
    home = tmp_path / "site"
    server, redis = embedded.start_postgres(home), embedded.start_redis(tmp_path / "redis")
    keys = tmp_path / "keys.toml"
    save_keyring(keys, with_new_key(None, Scheme.AES_256_GCM))
    port = free_port()
    children = []
    try:
        dsn = embedded.make_database(server, "anju")
        migrate(dsn, level=Level.PLAIN)
        with connect(dsn) as connection:
            register(connection)
            connection.execute(
                "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-' || i, "
                "h.id, '2020-01-01' FROM households h, generate_series(1, 200) i"
            )
            passwords = {
                role: make_user(connection, str(role), role, must_change_password=False)
                for role in (Role.PRIVACY_OFFICER, Role.COMPLIANCE)
            }
            ring = load_keyring(keys)
            for i in range(2, 201):
                person_vault.save_person(
                    connection,
                    ring,
                    f"r-{i}",
                    {"name": f"居民{i}", "phone": f"138{i:08d}"},
                    collected_for="tenancy",
                )
        env = {
            "ANJU_DSN": dsn,
            "ANJU_API_PORT": str(port),
            "ANJU_KEYS_FILE": str(keys),
            "ANJU_REDIS_URL": redis.url,
        }
        people = tmp_path / "people.csv"
        people.write_text(f"code,name,id_number,phone\nr-1,{NAME},{NUMBER},{PHONE}\n", "utf-8")
        assert traces([people, keys, *home.glob("*.log"), *list(tmp_path.glob("redis/*"))]), (
            "the search finds what is there"
        )
        run = lambda *args: subprocess.run(  # noqa: E731
            [sys.executable, "-m", "anju", *args],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        said = run("people", "import", str(people), "--collected-for", "tenancy", "--apply")
        people.unlink()
        children = [
            start_anju(name, [name], tmp_path / f"{name}.log", env) for name in ("api", "casework")
        ]
        wait_for(lambda: answers(port), children[0])
        officer = Client(port, Role.PRIVACY_OFFICER, passwords[Role.PRIVACY_OFFICER])
        other = Client(port, Role.COMPLIANCE, passwords[Role.COMPLIANCE])
        # Everything that touches the plain text: search, a look, a report, an error, an export.
        assert (
            other.ask("POST", "/people/search", {"kind": "phone", "text": PHONE})["items"][0][
                "code"
            ]
            == "r-1"
        )
        made = other.ask(
            "POST",
            "/people/r-1/lookups",
            {"purpose": "visit", "reference": "visit 12", "fields": ["name", "phone"]},
        )
        assert other.ask("POST", f"/lookups/{made['id']}/show", {})["fields"] == {
            "name": NAME,
            "phone": PHONE,
        }
        told = officer.ask(
            "POST",
            "/people/r-1/report",
            {"purpose": "subject_request", "reference": "letter 7", "fields": ["name"]},
        )
        assert told["fields"]["id_number"] == NUMBER
        for bad in ({"kind": "phone", "text": PHONE, "more": NAME}, {"kind": NAME, "text": NUMBER}):
            with pytest.raises(urllib.error.HTTPError):
                other.ask("POST", "/people/search", bad)
        # Keys change three times, once to SM4, while somebody reads all the time.
        stop = threading.Event()
        read: list[Any] = []
        failed: list[Any] = []

        def reading() -> None:
            while not stop.is_set():
                try:
                    items = other.ask("GET", "/estates/es/people?limit=100")["items"]
                    read.append(len(items))
                    failed.extend(
                        item["code"]
                        for item in items
                        if not item["readable"] and item["code"] != "r-1"
                    )
                except Exception as error:
                    failed.append(repr(error))
                time.sleep(0.15)

        thread = threading.Thread(target=reading)
        thread.start()
        said_more = [
            run("keys", "rotate").stdout,
            run("keys", "rotate", "--scheme", "sm4-gcm").stdout,
        ]
        officer.ask("POST", "/people/r-1/erasure", {"reason": "the person asked for it"})
        said_more.append(run("keys", "rotate").stdout)
        stop.set()
        thread.join()
        assert not failed and len(read) > 5, failed[:3]
        assert len(load_keyring(keys).keys) == 1, (
            "what the old keys wrapped in old files is closed for good"
        )
        assert other.ask("POST", "/people/search", {"kind": "phone", "text": PHONE})["items"] == []
        # A backup made afterwards.
        dump = server.binaries / "pg_dump"
        if dump.exists():
            with (tmp_path / "backup.sql").open("w") as out:
                subprocess.run(
                    [dump, dsn], stdout=out, check=True, env={**os.environ, **environment(dsn)}
                )
        (tmp_path / "said.txt").write_text(said.stdout + said.stderr + "".join(said_more), "utf-8")
    finally:
        for child in reversed(children):
            child.stop()
        redis.child.stop()
        server.child.stop()
    data = root_place(home) if os.geteuid() == 0 else home
    places = [
        data / "pgdata",
        home,
        tmp_path / "redis",
        tmp_path / "said.txt",
        tmp_path / "api.log",
        tmp_path / "casework.log",
    ]
    if (tmp_path / "backup.sql").exists():
        places.append(tmp_path / "backup.sql")
        assert "王" not in (tmp_path / "backup.sql").read_text("utf-8") and "居民2" not in (
            tmp_path / "backup.sql"
        ).read_text("utf-8")
    try:
        assert traces([p for p in places if p.exists()]) == []
    finally:
        embedded.remove_root_place(home)
