"""Decodes pictures from outside within limits of bytes, kind and pixels.

A refusal names the limit.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Picture = NDArray[np.uint8]
MOST_BYTES = 8 * 1024 * 1024
MOST_PIXELS = 16_000_000
#: Larger pictures are scaled down to this side before a face is looked for.
SIDE = 1280
KINDS = ("JPEG", "PNG", "WEBP")


class BadPicture(Exception):
    """The picture is refused; the message says why."""


def decode(body: bytes) -> Picture:
    """Return a picture's pixels, RGB, at most SIDE wide and high, turned as its EXIF says.

    Raises: BadPicture.
    """
    if len(body) > MOST_BYTES:
        raise BadPicture(f"{len(body)} bytes; a picture has at most {MOST_BYTES}")
    # face-recognition, once imported, lets Pillow fill truncated pictures with grey; here they are
    # refused.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(body), formats=KINDS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS or getattr(image, "n_frames", 1) > 1:
                raise BadPicture(
                    f"{width} x {height} pixels; a picture has at most {MOST_PIXELS}, and "
                    "is one picture"
                )
            if min(width, height) < 32:
                raise BadPicture(f"{width} x {height} pixels; at least 32 each way are needed")
            image.draft("RGB", (SIDE, SIDE))
            image.load()
            upright = ImageOps.exif_transpose(image) or image
            upright.thumbnail((SIDE, SIDE))
            return np.asarray(upright.convert("RGB"), np.uint8).copy()
    except BadPicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPicture(f"far too many pixels; a picture has at most {MOST_PIXELS}") from None
    except UnidentifiedImageError:
        raise BadPicture(f"not a picture of a kind that is taken: {', '.join(KINDS)}") from None
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise BadPicture(f"cannot be read: {str(error)[:120]}") from None
