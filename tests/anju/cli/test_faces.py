"""`anju faces`.

See tests/anju/cli/test_vision.py for the commands; here, what must not be typed twice.
"""

from __future__ import annotations

from anju.cli import faces


def test_every_command_says_what_it_does() -> None:
    names = {
        command.callback.__name__
        for command in faces.faces_app.registered_commands
        if command.callback
    }
    assert names == {"key", "quality", "enrol", "check", "roc"}
    assert all(
        command.callback.__doc__
        for command in faces.faces_app.registered_commands
        if command.callback
    )
