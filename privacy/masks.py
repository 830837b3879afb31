"""People's names and numbers as they are shown to those who did not ask for a reason: enough to tell two apart at a door, no more."""

from __future__ import annotations


def mask_name(name: str) -> str:
    """Keep the first character: 王*, 欧**, J***."""
    return name[:1] + "*" * min(3, max(1, len(name) - 1)) if name else ""


def mask_id_number(number: str) -> str:
    """Keep the first and the last sign."""
    return (
        number[:1] + "*" * max(1, len(number) - 2) + number[-1:]
        if len(number) > 2
        else "*" * len(number)
    )


def mask_phone(phone: str) -> str:
    """Keep three digits in front and four at the end of a mobile number, the last two of a shorter one."""
    keep = (3, 4) if len(phone) >= 11 else (0, 2)
    return (
        phone[: keep[0]] + "*" * max(1, len(phone) - sum(keep)) + phone[len(phone) - keep[1] :]
        if len(phone) > 2
        else "***"
    )


MASKS = {"name": mask_name, "id_number": mask_id_number, "phone": mask_phone}
