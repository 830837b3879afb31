"""The wire contract and the register's columns as documents, made from the code that reads them.

`docs/wire/*.schema.json` (JSON Schema 2020-12), `docs/wire/asyncapi.json` (AsyncAPI 3.0) and
`docs/registers.md`; a test fails when they are not what this module makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from domain import wire
from domain.ids import EVENT_ID_PATTERN, ID_PATTERN, POINT_PATTERN
from domain.register import SHEETS
from domain.wire import (
    CommandResult,
    DeviceCondition,
    Direction,
    EventKind,
    Hazard,
    HazardState,
    Method,
    Outcome,
)

_MESSAGES: dict[str, tuple[type, str]] = {
    "readings": (wire.Readings, "Values of devices at instants; registers are cumulative."),
    "events": (wire.Events, "What devices say has happened."),
    "state": (
        wire.State,
        "A gateway's last known condition; also its last will, with online false.",
    ),
    "birth": (wire.Birth, "What a gateway has behind it."),
    "ack": (wire.Ack, "Sent after the commit: stored or quarantined up to `upto`, and `also`."),
    "backfill": (wire.Backfill, "Numbers that the server misses; send them again."),
    "command": (
        wire.Command,
        "Something that a person asked of a device; done at most once, "
        "reported by a `command` event.",
    ),
    "time": (wire.Time, "The server's clock, in answer to a state."),
}
_UP = ("readings", "events", "state", "birth")
_TIME = {"type": "integer", "minimum": wire.EARLIEST_MS, "description": "milliseconds, UTC"}


def schema_of(name: str) -> dict[str, Any]:
    """Return one message's JSON Schema, with the grammar and limits of `ingest.decode`."""
    kind, about = _MESSAGES[name]
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    body = parts.pop(kind.__name__)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **body,
        "description": about,
    }
    if parts:
        document["$defs"] = parts
    _tighten(document)
    if name == "events":
        document["$defs"]["EventItem"]["allOf"] = _event_rules()
    return document


def _tighten(node: Any) -> None:
    """Add the patterns and bounds that types alone do not say, in a schema and all below it."""
    if isinstance(node, dict):
        _tighten_fields(node.get("properties", {}))
        children = list(node.values())
    elif isinstance(node, list):
        children = node
    else:
        return
    for child in children:
        _tighten(child)


def _tighten_fields(fields: dict[str, Any]) -> None:
    """Add what is known of one object's fields, by their names."""
    for field, rule in _FIELD_RULES.items():
        if field in fields:
            fields[field] = rule
    if "kind" in fields and "data" in fields:
        fields["kind"] = {"enum": [str(kind) for kind in EventKind]}
    if "items" in fields and "v" in fields:
        fields["items"]["maxItems"] = wire.MAX_ITEMS


_FIELD_RULES: dict[str, dict[str, Any]] = {
    "v": {"const": wire.VERSION},
    "at": _TIME,
    "device": {"type": "string", "pattern": ID_PATTERN},
    "id": {"type": "string", "pattern": EVENT_ID_PATTERN},
    "boot": {"type": ["string", "null"], "pattern": ID_PATTERN},
    "values": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": wire.MAX_VALUES,
        "propertyNames": {"pattern": POINT_PATTERN},
        "additionalProperties": {"type": "number"},
    },
}


def _event_rules() -> list[dict[str, Any]]:
    def words(vocabulary: Any) -> dict[str, Any]:
        return {"enum": [str(word) for word in vocabulary]}

    rules = {
        EventKind.PASSAGE: (
            {"method": words(Method), "outcome": words(Outcome), "direction": words(Direction)},
            ["method", "outcome"],
        ),
        EventKind.PLATE: ({"direction": words(Direction)}, []),
        EventKind.HAZARD: (
            {"hazard": words(Hazard), "state": words(HazardState)},
            ["hazard", "state"],
        ),
        EventKind.DEVICE: (
            {"condition": words(DeviceCondition), "state": words(HazardState)},
            ["condition", "state"],
        ),
        EventKind.COMMAND: (
            {
                "command": {"type": "string"},
                "result": words(CommandResult),
                "detail": {"type": "string"},
            },
            ["result"],
        ),
    }
    return [
        {
            "if": {"properties": {"kind": {"const": str(kind)}}},
            "then": {
                "properties": {"data": {"type": "object", "properties": fields, "required": needed}}
            },
        }
        for kind, (fields, needed) in rules.items()
    ]


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI document of the broker's topics."""
    place = {
        "estate": {"description": "the estate's code"},
        "gateway": {"description": "the gateway's code"},
    }
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, (_, about) in _MESSAGES.items():
        way = "up" if name in _UP else "down"
        channels[name] = {
            "address": f"{wire.ROOT}/{{estate}}/{{gateway}}/{way}/{name}",
            "parameters": place,
            "description": about,
            "messages": {
                name: {
                    "contentType": "application/json",
                    "payload": {"$ref": f"./{name}.schema.json"},
                }
            },
            "bindings": {"mqtt": {"qos": 1, "retain": False}},
        }
        operations[name] = {
            "action": "receive" if way == "up" else "send",
            "channel": {"$ref": f"#/channels/{name}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Anju wire contract", "version": str(wire.VERSION)},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }


def register_markdown() -> str:
    """Return the column list of every register file, in both languages."""
    lines = [
        "# Register files · 登记文件",
        "",
        "One CSV file for each table, in UTF-8 or GB 18030, with headings in "
        "the first row. `*` marks",
        "required columns. `anju contract` generates this page.",
        "每张表一个 CSV 文件（UTF-8 或 GB 18030），首行为列名；`*` 为必填。"
        "本页由 `anju contract` 生成。",
        "",
        "`anju register import DIR` tries everything and writes nothing. With "
        "`--apply` it writes all or",
        "nothing. A TOML file, given with `--mapping`, names other headings "
        "and columns that a file lacks:",
        "",
        "```toml",
        "[units.columns]",
        '"房号" = "code"',
        "[units.constants]",
        'estate = "qingnian"',
        "```",
        "",
    ]
    for sheet in SHEETS:
        lines += [
            f"## {sheet.name}.csv",
            "",
            f"{sheet.about} {sheet.about_zh}",
            "",
            "| column | about | 说明 |",
            "|---|---|---|",
        ]
        for column in sheet.columns:
            star = "*" if column.required or column.name in sheet.key else ""
            lines.append(f"| `{column.name}`{star} | {column.about} | {column.about_zh} |")
        lines.append("")
    return "\n".join(lines)


def documents(directory: Path) -> dict[Path, str]:
    """Return every generated document by its path."""
    found = {directory / f"{name}.schema.json": _dump(schema_of(name)) for name in _MESSAGES}
    found[directory / "asyncapi.json"] = _dump(asyncapi())
    found[directory.parent / "registers.md"] = register_markdown()
    return found


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_contract(directory: Path) -> list[Path]:
    """Write every document; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in documents(directory).items():
        path.write_text(text, "utf-8")
    return sorted(documents(directory))
