"""People's names and numbers as shown without a purpose: enough to tell two people apart at a door,
no more.
"""

from __future__ import annotations


def _mask(text: str, first: int, last: int) -> str:
    """Keep some characters in front and at the end, and put at least one asterisk between."""
    hidden = max(1, len(text) - first - last)
    return text[:first] + "*" * hidden + text[len(text) - last :]


def mask_name(name: str) -> str:
    """Keep the first character, and show at most three asterisks: 王*, 欧**, J***."""
    if not name:
        return ""
    return name[:1] + "*" * min(3, max(1, len(name) - 1))


def mask_id_number(number: str) -> str:
    """Keep the first and the last character; nothing of two characters or less."""
    if len(number) <= 2:
        return "*" * len(number)
    return _mask(number, 1, 1)


def mask_phone(phone: str) -> str:
    """Keep three digits in front and four at the end of a mobile number, the last two of a shorter
    one.
    """
    if len(phone) <= 2:
        return "***"
    if len(phone) >= 11:
        return _mask(phone, 3, 4)
    return _mask(phone, 0, 2)


MASKS = {"name": mask_name, "id_number": mask_id_number, "phone": mask_phone}
