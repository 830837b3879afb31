from __future__ import annotations

from tests.ingest.conftest import registered

__all__ = ["registered"]
