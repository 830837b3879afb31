"""What no list allows is destroyed without a trace, and nobody is matched without a fresh list."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from domain.calendar import DAY_MS
from gateway.faces.door import take_faces
from gateway.faces.matching import Thresholds
from gateway.faces.pseudonyms import MOST, Regulars
from gateway.faces.tables import FOLDER, FaceDoorTable, FacesTable
from gateway.faces.template_store import NotConsented, Vault, destroy_all
from gateway.outbox import Outbox

NOW, TODAY = 1_795_000_000_000, "2026-11-18"
random = np.random.default_rng(1)
A, B = "k-aaaaaaaaaa", "k-bbbbbbbbbb"


def row(code: str, person: str = "r-1", to: str = "2027-01-01") -> dict[str, str]:
    return {"consent": code, "person": person, "to": to}


def encoding() -> np.ndarray:
    return random.normal(0, 1, 128).astype(np.float32)


def traces(folder: Path, *wanted: bytes) -> list[str]:
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(one in path.read_bytes() for one in wanted)
    ]


@pytest.mark.parametrize("key", [bytes(range(32)), bytes(range(16))])
def test_from_a_list_to_nothing(tmp_path: Path, key: bytes) -> None:
    vault = Vault(tmp_path, key)
    with pytest.raises(NotConsented, match="not in the list"):
        vault.enrol(A, [encoding()], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY)
    vault.take_list("door-1", [row(A), row(B, "r-2")], NOW)
    mine = encoding()
    assert vault.enrol(A, [mine], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY) == 1
    assert (
        vault.enrol(
            A,
            [encoding() for _ in range(20)],
            engine="e",
            now_ms=NOW,
            doors=["door-1"],
            today=TODAY,
        )
        == 8
    )
    vault.enrol(B, [encoding()], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY)
    assert vault.stored() == [A, B] and vault.consents("door-1", NOW, TODAY) == {A: "r-1", B: "r-2"}
    assert (
        vault.templates(A, "e").shape == (8, 128) and vault.templates(A, "another engine") is None
    )
    assert not traces(tmp_path, mine.tobytes()[:32]), "sealed"
    wrapped = (tmp_path / "keys" / A).read_bytes()
    settled = vault.take_list("door-1", [row(B, "r-2")], NOW + 1)
    assert settled.destroyed == [A] and settled.stored == [B] and vault.templates(A, "e") is None
    assert not traces(tmp_path, wrapped), "the key is gone from the folder"
    again = vault.take_list("door-1", [row(A), row(B, "r-2")], NOW + 2)
    assert again.refused == [A] and vault.consents("door-1", NOW + 2, TODAY) == {B: "r-2"}
    with pytest.raises(NotConsented):
        vault.enrol(A, [encoding()], engine="e", now_ms=NOW + 2, doors=["door-1"], today=TODAY)
    assert Vault(tmp_path, bytes(len(key))).templates(B, "e") is None, (
        "another gateway's key opens nothing"
    )


def test_an_old_list_matches_nobody_and_days_end(tmp_path: Path) -> None:
    vault = Vault(tmp_path, bytes(32), list_days=7)
    vault.take_list("door-1", [row(A, to="2026-11-20")], NOW)
    assert vault.consents("door-1", NOW + 7 * DAY_MS, TODAY) and not vault.consents(
        "door-1", NOW + 7 * DAY_MS + 1, TODAY
    )
    assert not vault.consents("door-1", NOW - 1, TODAY), "a clock that ran back has no fresh list"
    assert not vault.consents("door-1", NOW, "2026-11-21") and not vault.consents(
        "door-2", NOW, TODAY
    )


def test_a_gateway_restored_from_a_backup_is_settled_by_the_next_list(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "now", bytes(32))
    vault.take_list("door-1", [row(A)], NOW)
    vault.enrol(A, [encoding()], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY)
    shutil.copytree(tmp_path / "now", tmp_path / "backup")
    vault.take_list("door-1", [], NOW + 1)
    restored = Vault(tmp_path / "backup", bytes(32))
    assert restored.stored() == [A], "the backup has it"
    assert restored.take_list("door-1", [], NOW + 2).destroyed == [A] and restored.stored() == []


def test_lists_of_several_doors_and_of_doors_that_are_no_more(tmp_path: Path) -> None:
    vault = Vault(tmp_path, bytes(32))
    vault.take_list("door-1", [row(A)], NOW)
    vault.take_list("door-2", [row(A), row(B)], NOW)
    for one in (A, B):
        vault.enrol(
            one, [encoding()], engine="e", now_ms=NOW, doors=["door-1", "door-2"], today=TODAY
        )
    assert vault.take_list("door-1", [], NOW).destroyed == [], "the other door still has it"
    assert vault.keep_doors(["door-1"]) == [A, B]
    with pytest.raises(ValueError):
        take_faces(vault, {"door-1"}, "door-1", {"consents": "all"}, NOW)
    with pytest.raises(ValueError, match="cannot be read"):
        take_faces(vault, {"door-1"}, "door-1", {"consents": [{"consent": 7}]}, NOW)
    assert (
        take_faces(vault, {"door-1"}, "door-1", {"consents": [row("k-../../etc/passwd")]}, NOW)[
            "held"
        ]
        == []
    )


def test_a_list_for_a_device_that_is_no_door_here_is_not_kept(tmp_path: Path) -> None:
    vault = Vault(tmp_path, bytes(32))
    vault.take_list("door-1", [row(A)], NOW)
    vault.enrol(A, [encoding()], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY)
    for device in ("door-2", "../../elsewhere"):
        told = take_faces(vault, {"door-1"}, device, {"consents": [row(B)]}, NOW)
        assert told == {"held": [A], "destroyed": [], "refused": []}
    assert [path.name for path in (tmp_path / "lists").iterdir()] == ["door-1.json"]


def test_turned_off_is_destroyed(tmp_path: Path) -> None:
    vault = Vault(tmp_path / FOLDER, bytes(32))
    vault.take_list("door-1", [row(A)], NOW)
    vault.enrol(A, [encoding()], engine="e", now_ms=NOW, doors=["door-1"], today=TODAY)
    assert destroy_all(tmp_path) == 0 and destroy_all(tmp_path / FOLDER) == 1
    assert Vault(tmp_path / FOLDER, bytes(32)).stored() == []


def test_the_same_stranger_keeps_a_pseudonym_for_a_while(tmp_path: Path) -> None:
    vault, outbox = Vault(tmp_path / "v", bytes(32)), Outbox(None, "b")
    regulars, limits = (
        Regulars("door-1", vault, outbox, 14.0),
        Thresholds(match=0.5, unknown=0.7, margin=0.05),
    )
    face, other = encoding(), encoding()

    def seen(who: np.ndarray, at: int) -> str | None:
        token, entry = regulars.name([who, who + 0.001], limits, "e", at)
        outbox.put([entry])
        return token

    first = seen(face, NOW)
    assert first is not None and first.startswith("q-")
    assert {seen(face, NOW + night * DAY_MS) for night in range(1, 10)} == {first}, (
        "the same person on nine nights"
    )
    assert seen(other, NOW) != first
    outbox.put([regulars.expire(NOW + 15 * DAY_MS)])
    assert vault.strangers() == [] and vault.stored() == []
    assert seen(face, NOW + 16 * DAY_MS) != first, "a life later it is another"
    for n in range(MOST + 5):
        seen(encoding(), NOW + 16 * DAY_MS + n)
    assert len(vault.strangers()) == MOST


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"other_ways": []}, "never be the only one"),
        ({"assessment": " "}, "impact assessment"),
        ({"list_days": 90.0}, "list_days"),
        ({"doors": [FaceDoorTable(device="door-1", token_file="token", match=0.5)]}, "go together"),
    ],
)
def test_the_laws_conditions_are_the_configurations(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    (tmp_path / "key").write_text("0" * 64)
    (tmp_path / "token").write_text("a-token-of-sixteen-characters")
    good: dict[str, object] = {
        "key_file": "key",
        "assessment": "PIA-2026-001",
        "other_ways": ["card"],
        "doors": [FaceDoorTable(device="door-1", token_file="token")],
    }
    assert FacesTable(**good).fault(tmp_path) is None  # type: ignore[arg-type]
    assert told in str(FacesTable(**{**good, **change}).fault(tmp_path))  # type: ignore[arg-type]
    (tmp_path / "key").write_text("short")
    assert "64 hex digits" in str(FacesTable(**good).fault(tmp_path))  # type: ignore[arg-type]
