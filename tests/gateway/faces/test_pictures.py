"""Pictures from outside are within limits or refused; a poor one gets advice."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gateway.faces.pictures import MOST_BYTES, SIDE, BadPicture, decode
from gateway.faces.quality import FaceQuality, advice, measure
from tests.conftest import SEED

GOOD = FaceQuality(eyes_px=90, sharp=400, contrast=50, light=120, nose_offset=0.05, lean=3)


def packed(kind: str, size: tuple[int, int] = (200, 150), **more: object) -> bytes:
    body = io.BytesIO()
    Image.fromarray(
        np.random.default_rng(1).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    ).save(body, kind, **more)
    return body.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_good_pictures(kind: str) -> None:
    assert decode(packed(kind)).shape == (150, 200, 3)
    assert max(decode(packed(kind, (2600, 900))).shape) <= SIDE


def test_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(packed("JPEG", exif=exif)).shape == (200, 150, 3)


def bomb() -> bytes:
    side = 40_000

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(10**6), 9))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not a picture"),
        (b"GIF89a" + bytes(40), "not a picture"),
        (bytes(MOST_BYTES + 1), "at most"),
        (bomb(), "at most"),
        (packed("JPEG")[:2000], "cannot be read"),
        (packed("PNG", (20, 20)), "at least 32"),
        (b"<svg onload=x>", "not a picture"),
    ],
)
def test_bad_pictures(body: bytes, told: str) -> None:
    with pytest.raises(BadPicture, match=told):
        decode(body)


def test_bent_pictures_are_taken_or_refused() -> None:
    dice = random.Random(SEED)
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = packed(kind)
        for _ in range(300):
            body = bytearray(
                whole[: dice.randrange(8, len(whole))] if dice.random() < 0.5 else whole
            )
            for _ in range(dice.randrange(1, 20)):
                body[dice.randrange(len(body))] = dice.randrange(256)
            try:
                assert decode(bytes(body)).ndim == 3
            except BadPicture:
                continue


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"eyes_px": 20.0}, "come nearer"),
        ({"sharp": 3.0}, "blurred"),
        ({"light": 20.0}, "dark"),
        ({"light": 240.0}, "burnt out"),
        ({"contrast": 3.0}, "contrast"),
        ({"nose_offset": 0.6}, "turned"),
        ({"lean": 40.0}, "leans"),
    ],
)
def test_advice(change: dict[str, float], told: str) -> None:
    from dataclasses import replace

    assert (
        advice([GOOD]) == [] and "no face" in advice([])[0] and "2 faces" in advice([GOOD, GOOD])[0]
    )
    assert any(told in line for line in advice([replace(GOOD, **change)]))


def test_measures() -> None:
    random_face = np.random.default_rng(1).integers(60, 190, (256, 256), dtype=np.uint8)
    straight = measure(random_face, (80, 100), (170, 100), (125, 140))
    assert (
        straight.eyes_px == 90
        and straight.nose_offset < 0.01
        and straight.lean == 0
        and straight.sharp > 400
    )
    assert measure(random_face, (80, 100), (170, 100), (165, 140)).nose_offset > 0.4
    assert measure(
        np.full((256, 256), 120, np.uint8), (80, 100), (150, 170), (115, 160)
    ).lean == pytest.approx(45)
