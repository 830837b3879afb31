"""Serving refuses a site whose directory is set up in part, before it opens a port."""

from __future__ import annotations

from typing import Any

import pytest

from anju.settings import Settings
from api.serve import BadDirectory, serve


@pytest.mark.parametrize(
    "missing",
    [
        {"oidc_redirect": "https://anju.example/oidc/callback"},
        {"oidc_client_id": "anju"},
        {"oidc_client_id": "anju", "oidc_redirect": "https://anju.example/elsewhere"},
    ],
)
def test_a_directory_in_part_is_refused_with_what_is_missing(missing: Any) -> None:
    settings = Settings(oidc_issuer="https://login.example", **missing)
    with pytest.raises(BadDirectory, match="set ANJU_OIDC_CLIENT_ID and ANJU_OIDC_REDIRECT="):
        serve(settings)
