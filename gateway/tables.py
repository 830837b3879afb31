"""What every table of the configuration is: typed, and refused where it holds a field that is not
known.
"""

from __future__ import annotations

import msgspec


class Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of `gateway.toml`."""
