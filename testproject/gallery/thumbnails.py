"""Makes thumbnails."""

import io

from PIL import Image, ImageOps, UnidentifiedImageError

SIZE = (480, 360)
MAX_PIXELS = 60_000_000


class NotAPicture(Exception):
    """The file is not a picture, so a retry would not help."""


def shrink(content: bytes) -> tuple[bytes, int, int]:
    """Return a WebP thumbnail of the picture in *content*, and the picture's width and height."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height = opened.size
            # Read the size from the header first: a few kilobytes can unpack to gigabytes.
            if width * height > MAX_PIXELS:
                raise NotAPicture(f"{width} × {height} is more than {MAX_PIXELS:,} pixels")
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError as error:  # its own text has the address of an object
        raise NotAPicture("the file has no known format of pictures") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAPicture(str(error)) from error
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    small = io.BytesIO()
    picture.save(small, "WEBP", quality=82)
    return small.getvalue(), width, height
