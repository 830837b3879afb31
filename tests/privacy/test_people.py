"""People's data: sealed, masked, looked at with a purpose and within measure, held, erased for
good, and erased again after a restore.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto.sealed_values import NotOpened, Scheme
from domain.access import Principal, Role
from privacy import lookups, masks, person_vault, purposes, retention, unusual_lookups
from privacy.keyring import KeyFile, Keyring, save_keyring, with_new_key
from privacy.lookups import LookupQuery, Requester
from privacy.purposes import BadPeoplePolicy, PeoplePolicy, load_people_policy
from store.access import audit, users
from store.access.audit import AuditEntry
from store.database.connection import Connection, connect
from store.people import erasures, persons, wrapped_keys
from tests.ingest.conftest import register

NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)
#: Made for the test under an area code that is nobody's, with right check digits.
NUMBER = "999999199001011236"


def number_for(i: int) -> str:
    body = f"99999919900101{i:03d}"
    return next(body + c for c in "0123456789X" if person_vault.is_valid_id_number(body + c))


@pytest.fixture
def ring() -> Keyring:
    return with_new_key(None, Scheme.AES_256_GCM)


@pytest.fixture
def town(connection: Connection) -> Iterator[Connection]:
    register(connection)
    connection.execute(
        "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-' || i, h.id, "
        "'2020-01-01' FROM households h, generate_series(1, 60) i"
    )
    connection.commit()
    yield connection


def put(connection: Connection, ring: Keyring, code: str = "r-1") -> None:
    fields = {"name": "王小明", "id_number": number_for(int(code[2:])), "phone": "139 0000-0000"}
    assert person_vault.save_person(connection, ring, code, fields, collected_for="tenancy")
    connection.commit()


def principal(connection: Connection, name: str, role: Role) -> Principal:
    users.add_grant(connection, users.add_user(connection, name, "x", role), by="test")
    found = users.find_principal(connection, name)
    assert found is not None
    return found


def by(principal: Principal) -> Requester:
    return Requester(principal=principal, source="test", now=datetime.now(UTC))


def ask(
    connection: Connection,
    who: Principal,
    code: str = "r-1",
    *,
    purpose: str = "visit",
    fields: Sequence[str] = ("name",),
    policy: PeoplePolicy | None = None,
) -> tuple[int, str]:
    person = persons.find_person(connection, who.estate_ids, code)
    assert person is not None
    query = LookupQuery(purpose=purpose, reference="visit 12", fields=fields)
    lookup = lookups.ask(connection, by(who), person, query, policy or PeoplePolicy())
    return lookup.id, lookup.state


def test_masks() -> None:
    assert [masks.mask_name(n) for n in ("王小明", "王五", "欧阳小小明", "J", "")] == [
        "王**",
        "王*",
        "欧***",
        "J*",
        "",
    ]
    assert (
        masks.mask_phone("13900001234") == "139****1234"
        and masks.mask_phone("88812") == "***12"
        and masks.mask_phone("1") == "***"
    )
    assert masks.mask_id_number(NUMBER).startswith("9*") and len(masks.mask_id_number(NUMBER)) == 18
    for kind, text in itertools.product(masks.MASKS, ("王小明", "13900001234", NUMBER, "ab", "x")):
        assert text not in masks.MASKS[kind](text) or len(text) < 2


def test_numbers_are_checked_and_never_repeated_in_an_error() -> None:
    assert (
        person_vault.check_fields(
            {"id_number": number_for(7).lower(), "phone": "(0731) 8888-0000", "name": " 王 "}
        )["phone"]
        == "073188880000"
    )
    for field, value in (
        ("id_number", NUMBER[:-1] + "Z"),
        ("id_number", "999999199001011230"),
        ("phone", "call me"),
        ("name", "x" * 81),
        ("name", "a\x00b"),
    ):
        if field == "id_number" and person_vault.is_valid_id_number(value):
            continue
        with pytest.raises(person_vault.BadPerson) as refused:
            person_vault.check_fields({field: value})
        assert str(refused.value).startswith(field) and value not in str(refused.value)
    assert sum(person_vault.is_valid_id_number(NUMBER[:-1] + c) for c in "0123456789X") == 1


@pytest.mark.real
def test_nothing_plain_stands_in_the_database(town: Connection, ring: Keyring) -> None:
    put(town, ring)
    row = persons.find_person(town, _all(town), "r-1")
    assert row is not None
    for value in ("王小明", number_for(1), "13900000000"):
        assert value not in str(row) and value.encode() not in b"".join(
            row.sealed_fields().values()
        )
    assert person_vault.open_fields(ring, row) == {
        "name": "王小明",
        "id_number": number_for(1),
        "phone": "13900000000",
    }
    shown = person_vault.mask_person(ring, row)
    assert (
        shown.name == "王**"
        and shown.phone == "139****0000"
        and "小明" not in str(shown)
        and shown.unit == "u-1"
    )
    # A field that was moved to another person or another column does not open.
    put(town, ring, "r-2")
    town.execute(
        "UPDATE people.persons SET name = (SELECT name FROM people.persons WHERE code = 'r-1') "
        "WHERE code = 'r-2'"
    )
    other = persons.find_person(town, _all(town), "r-2")
    assert other is not None
    with pytest.raises(NotOpened):
        person_vault.open_fields(ring, other)
    assert person_vault.mask_person(ring, other).readable is False


def _all(connection: Connection) -> list[int]:
    return [row["id"] for row in connection.execute("SELECT id FROM estates")]


@pytest.mark.real
def test_somebody_is_found_by_what_is_known_in_full_only(town: Connection, ring: Keyring) -> None:
    put(town, ring)

    def find(kind: str, text: str) -> list[str]:
        found = persons.find_by_index(town, _all(town), ring.index(kind, text))
        return [person.code for person in found]

    assert (
        find("phone", "１３９ 0000 0000")
        == ["r-1"]
        == find("name", "王小明")
        == find("id_number", number_for(1))
    )
    assert (
        find("phone", "1390000000") == [] == find("name", "王")
        and persons.find_by_index(town, [], ring.index("name", "王小明")) == []
    )


@pytest.mark.real
def test_a_look_has_a_purpose_a_measure_and_where_policy_says_a_second_person(
    town: Connection, ring: Keyring
) -> None:
    put(town, ring)
    officer, other = (
        principal(town, "li", Role.COMPLIANCE),
        principal(town, "zhao", Role.PRIVACY_OFFICER),
    )
    with pytest.raises(lookups.LookupRefused, match="use one of"):
        ask(town, officer, purpose="curiosity")
    with pytest.raises(lookups.LookupRefused, match="not at id_number"):
        ask(town, officer, purpose="visit", fields=["id_number"])
    made, state = ask(town, officer, fields=["name", "phone"])
    assert state == "granted"
    assert lookups.show(town, by(officer), made, ring) == {
        "name": "王小明",
        "phone": "13900000000",
    }
    with pytest.raises(LookupError):
        lookups.show(town, by(other), made, ring)
    made, state = ask(town, officer, purpose="legal_order", fields=["id_number", "name"])
    assert state == "asked"
    with pytest.raises(lookups.LookupRefused, match="not granted"):
        lookups.show(town, by(officer), made, ring)
    with pytest.raises(lookups.LookupRefused, match="another person"):
        lookups.decide(town, by(officer), made, grant=True, policy=PeoplePolicy())
    lookups.decide(town, by(other), made, grant=True, policy=PeoplePolicy())
    with pytest.raises(lookups.LookupRefused, match="already"):
        lookups.decide(town, by(other), made, grant=False, policy=PeoplePolicy())
    assert lookups.show(town, by(officer), made, ring)["id_number"] == number_for(1)
    town.execute("UPDATE people.lookups SET expires_at = now() - interval '1 second'")
    with pytest.raises(lookups.LookupRefused, match="over"):
        lookups.show(town, by(officer), made, ring)
    told = [r["entry"] for r in town.execute("SELECT entry FROM audit_log ORDER BY seq")]
    assert [e["action"] for e in told].count("showPerson") == 2 and all(
        e["purpose"] and e["subject"] == "person:r-1" for e in told
    )
    assert "王小明" not in str(told) and number_for(1) not in str(told)


@pytest.mark.real
def test_a_day_has_so_many_persons(town: Connection, ring: Keyring) -> None:
    for i in range(1, 5):
        put(town, ring, f"r-{i}")
    officer = principal(town, "li", Role.COMPLIANCE)
    strict = PeoplePolicy(persons_per_day=3)
    for i in (1, 2, 3, 3, 2):
        ask(town, officer, f"r-{i}", policy=strict)
    with pytest.raises(lookups.TooManyLookups):
        ask(town, officer, "r-4", policy=strict)


@pytest.mark.real
@pytest.mark.parametrize("what", ["many_persons", "at_night", "same_person", "many_homes"])
def test_unusual_looks_are_told_once_and_to_nobody_else(
    town: Connection, ring: Keyring, what: str
) -> None:
    officer = principal(town, "li", Role.COMPLIANCE)
    es = _all(town)[0]
    put(town, ring)
    now = datetime(2026, 11, 21, 18 if what == "at_night" else 4, 30, tzinfo=UTC)
    person = persons.find_person(town, officer.estate_ids, "r-1")
    assert person is not None
    if what == "many_homes":
        for i in range(300):
            audit.append(
                town,
                AuditEntry(actor="li", action="listUnitDays", object="x", subject=f"unit:es/u-{i}"),
                estate_id=es,
            )
        now = datetime.now(UTC)
    counts = {"many_persons": 20, "at_night": 5, "same_person": 6, "many_homes": 0}
    for i in range(counts[what]):
        code = f"r-{i + 1}" if what == "many_persons" else "r-1"
        if what == "many_persons" and i:
            put(town, ring, code)
        made, _ = ask(town, officer, code)
        town.execute(
            "UPDATE people.lookups SET asked_at = %s WHERE id = %s",
            [now - timedelta(minutes=5 + i), made],
        )
    assert (
        unusual_lookups.check(town, PeoplePolicy(), now) == 1
        and unusual_lookups.check(town, PeoplePolicy(), now) == 0
    )
    row = town.execute("SELECT alert_class, reasons, subject FROM alerts").fetchone()
    assert row == {"alert_class": "privacy", "reasons": [what], "subject": "li"}
    assert unusual_lookups.check(town, PeoplePolicy(), now + timedelta(days=40)) == 0


@pytest.mark.real
def test_erasing_waits_for_holds_and_outlives_a_restore(town: Connection, ring: Keyring) -> None:
    put(town, ring)
    put(town, ring, "r-2")
    before = persons.find_person(town, _all(town), "r-1")
    assert before is not None
    hold = erasures.add_hold(town, before.id, "case 7 is open", actor="zhao")
    with pytest.raises(person_vault.ErasureHeld, match="case 7"):
        person_vault.erase_person(town, ring, "r-1", actor="zhao", reason="asked")
    assert erasures.release_hold(town, hold, _all(town), actor="zhao")
    town.commit()
    # A backup from before the erasure.
    backup = {
        t: town.execute(f"SELECT * FROM people.{t} WHERE {k} = %s", [before.id]).fetchone()
        for t, k in (("persons", "id"), ("data_keys", "person_id"))
    }
    assert person_vault.erase_person(
        town, ring, "r-1", actor="zhao", reason="asked"
    ) and not person_vault.erase_person(town, ring, "nobody", actor="z", reason="x")
    after = persons.find_person(town, _all(town), "r-1")
    assert (
        after is not None
        and after.name is None
        and after.wrapped is None
        and person_vault.open_fields(ring, after) == {}
    )
    assert persons.find_by_index(town, _all(town), ring.index("name", "王小明"))[0].code == "r-2"
    with pytest.raises(person_vault.BadPerson, match="erased"):
        person_vault.save_person(town, ring, "r-1", {"name": "王小明"}, collected_for="x")
    # The restore brings the sealed fields and the key back; the list of erasures takes them away
    # again.
    assert backup["persons"] and backup["data_keys"]
    town.execute(
        "UPDATE people.persons SET name = %s, name_index = %s WHERE id = %s",
        [backup["persons"]["name"], backup["persons"]["name_index"], before.id],
    )
    town.execute(
        "INSERT INTO people.data_keys VALUES (%(person_id)s, %(wrapped)s, %(wrapped_by)s, "
        "%(made_at)s)",
        backup["data_keys"],
    )
    listed = erasures.export_erasures(town)
    assert len(listed) == 1 and "r-1" not in str(listed)
    town.execute("DELETE FROM people.erasures")
    erasures.import_erasures(town, listed)
    erasures.import_erasures(town, listed)
    assert person_vault.erase_again(town, ring) == 1 and person_vault.erase_again(town, ring) == 0
    assert (
        persons.find_person(town, _all(town), "r-1").wrapped is None
        and persons.find_person(town, _all(town), "r-2").wrapped
    )  # type: ignore[union-attr]


@pytest.mark.real
def test_a_rotation_that_is_killed_goes_on(dsn: str, town: Connection, ring: Keyring) -> None:
    for i in range(1, 31):
        put(town, ring, f"r-{i}")
    totp = users.add_user(town, "guard", "x", Role.GUARD)
    users.save_totp_secret(town, totp, ring.seal(b"secret", f"totp|{totp}"))
    town.commit()
    new = with_new_key(ring, Scheme.SM4_GCM)
    calls = itertools.count()

    class Killed(Exception):
        pass

    real = wrapped_keys.save_wrapped_key

    def die(*args: Any) -> None:
        if next(calls) == 17:
            raise Killed
        real(*args)

    with connect(dsn, autocommit=True) as worker:
        wrapped_keys.save_wrapped_key = die  # type: ignore[assignment]
        try:
            with pytest.raises(Killed):
                person_vault.rewrap_keys(worker, new, batch=5)
        finally:
            wrapped_keys.save_wrapped_key = real
        assert wrapped_keys.count_wrapped(worker) == {ring.current: 16, new.current: 15}
        every = [persons.find_person(worker, _all(worker), f"r-{i}") for i in range(1, 31)]
        assert all(person_vault.open_fields(new, row)["name"] == "王小明" for row in every if row)
        assert person_vault.rewrap_keys(worker, new, batch=5) == 16
        assert wrapped_keys.count_wrapped(worker) == {new.current: 31}
        alone = Keyring(
            current=new.current, keys={new.current: new.keys[new.current]}, index_key=new.index_key
        )
        every = [persons.find_person(worker, _all(worker), f"r-{i}") for i in range(1, 31)]
        assert all(person_vault.open_fields(alone, row)["name"] == "王小明" for row in every if row)
        with pytest.raises(NotOpened):
            person_vault.open_fields(ring, every[0])


@pytest.mark.real
def test_each_day_what_is_over_goes_and_the_chain_is_checked(
    dsn: str, town: Connection, ring: Keyring, tmp_path: Path
) -> None:
    put(town, ring)
    put(town, ring, "r-2")
    town.execute("UPDATE residents SET valid_to = '2025-01-01' WHERE code = 'r-1'")
    town.execute(
        "INSERT INTO notice_deliveries (message_id, channel, rule, alert_id, seq, urgent, "
        "unless, subject, body, made_at, due_at, result, result_at) "
        "SELECT 'm', 'c', 'r', 1, 1, false, 'never', '', '', now(), now(), 'sent', now() - "
        "interval '200 days' WHERE false"
    )
    town.execute(
        "INSERT INTO sign_in_attempts VALUES ('s', 'n', 'v', 'b', now() - interval '1 day')"
    )
    audit.append(town, AuditEntry(actor="x", action="y", object="z"))
    town.commit()
    save_keyring(tmp_path / "keys.toml", ring)
    with connect(dsn, autocommit=True) as worker:
        done = retention.daily(
            worker, PeoplePolicy(), KeyFile(tmp_path / "keys.toml"), datetime.now(UTC)
        )
        assert done["persons"] == 1 and done["sign_in_attempts"] == 1 and done["audit_seq"] >= 1
        assert (
            retention.daily(
                worker, PeoplePolicy(), KeyFile(tmp_path / "keys.toml"), datetime.now(UTC)
            )["persons"]
            == 0
        )
        assert persons.find_person(worker, _all(worker), "r-1").wrapped is None  # type: ignore[union-attr]
        assert persons.find_person(worker, _all(worker), "r-2").wrapped is not None  # type: ignore[union-attr]
        assert audit.last_check(worker).broken_at is None  # type: ignore[union-attr]
        now = [0.0]
        chores = retention.RetentionTasks(PeoplePolicy(), None, clock=lambda: now[0])
        assert chores.run(worker, datetime.now(UTC)) == 0 == chores.run(worker, datetime.now(UTC))
    assert erasures.list_due(town, date(2026, 11, 21), 365) == [] and NOW


def test_a_sites_policy_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "people.toml"
    file.write_text(
        'persons_per_day = 10\n[purposes.visit]\nzh = "走访"\nen = "visit"\nfields = ["name"]\n',
        "utf-8",
    )
    assert (
        load_people_policy(file).persons_per_day == 10
        and load_people_policy(None).purposes == purposes.DEFAULT_PURPOSES
    )
    for text, word in (
        ("persons_per_day = 0", "persons_per_day"),
        ("nonsense = 1", "nonsense"),
        ("[[", "people.toml"),
        ('[purposes.x]\nzh = "x"\nen = "x"\nfields = ["face"]', "face"),
        ("keep_lookups_days = 30", "keep_lookups_days"),
    ):
        file.write_text(text, "utf-8")
        with pytest.raises(BadPeoplePolicy, match=word):
            load_people_policy(file)
