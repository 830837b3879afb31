"""The one base of errors that the person at the keyboard can mend.

A command prints such an error as one line and ends with code 2; anything else is a bug and keeps
its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong.

    The message names what is wrong, where it is, and how to mend it.
    """
