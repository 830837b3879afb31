"""What row-level security knows of a transaction's reader: set for one transaction, and for a block
while somebody signs in.
"""

from __future__ import annotations

import pytest

from domain.access import Principal, Role
from store.access import scope
from store.database.connection import Connection

pytestmark = pytest.mark.real


def reader(connection: Connection) -> dict[str, object]:
    row = connection.execute(
        """
        SELECT
            anju_scope() AS estates,
            anju_permissions() AS permissions,
            anju_user() AS user_id,
            anju_all_estates() AS everywhere,
            anju_signing_in() AS signing_in
        """
    ).fetchone()
    assert row is not None
    return dict(row)


NOBODY = {
    "estates": [],
    "permissions": [],
    "user_id": None,
    "everywhere": False,
    "signing_in": False,
}


def test_a_reader_is_known_for_one_transaction(connection: Connection) -> None:
    principal = Principal(user_id=7, name="x", role=Role.COMPLIANCE, estate_ids=(1, 3))
    assert reader(connection) == NOBODY
    scope.enter(connection, principal)
    assert reader(connection) == {
        "estates": [1, 3],
        "permissions": sorted(principal.permissions),
        "user_id": 7,
        "everywhere": False,
        "signing_in": False,
    }
    connection.commit()
    assert reader(connection) == NOBODY


def test_approvals_are_permitted_to_whom_may_approve() -> None:
    permitted = {
        role
        for role in Role
        if "approvals" in Principal(user_id=1, name="x", role=role, estate_ids=()).permissions
    }
    assert permitted == {Role.COMPLIANCE, Role.PRIVACY_OFFICER}


def test_signing_in_ends_with_its_block(connection: Connection) -> None:
    with scope.signing_in(connection):
        assert reader(connection)["signing_in"]
    assert not reader(connection)["signing_in"]
