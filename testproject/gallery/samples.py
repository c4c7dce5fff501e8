"""Sample pictures, drawn by the site itself."""

import io
import math
import random

from PIL import Image, ImageDraw, ImageFilter

SIZE = (1600, 1200)
Colour = tuple[int, int, int]
#: Top of the sky, horizon, sun or moon, farthest ridge, nearest ridge.
PALETTES: dict[str, tuple[Colour, Colour, Colour, Colour, Colour]] = {
    "Dawn": ((62, 84, 140), (250, 190, 160), (255, 240, 205), (150, 130, 170), (34, 32, 62)),
    "Noon": ((52, 130, 200), (205, 232, 245), (255, 255, 235), (140, 175, 190), (30, 70, 60)),
    "Dusk": ((45, 30, 80), (245, 120, 80), (255, 205, 120), (140, 75, 110), (28, 16, 40)),
    "Night": ((8, 12, 34), (40, 58, 100), (235, 238, 250), (40, 54, 92), (6, 9, 22)),
    "Autumn": ((120, 150, 175), (245, 222, 180), (255, 245, 215), (190, 140, 100), (80, 36, 22)),
    "Fog": ((150, 165, 172), (226, 230, 228), (250, 250, 244), (182, 194, 196), (64, 82, 84)),
}


def draw(number: int) -> tuple[str, bytes]:
    """Return the title and the JPEG of sample *number*, always the same picture."""
    chance = random.Random(number)
    name = list(PALETTES)[number % len(PALETTES)]
    top, horizon, light, far, near = PALETTES[name]
    picture = _sky(top, horizon)
    if name == "Night":
        _stars(picture, chance)
    _sun(picture, light, chance)
    ridges = chance.randint(4, 6)
    for ridge in range(ridges):
        _ridge(picture, _mix(far, near, ridge / (ridges - 1)), ridge / ridges, chance)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return f"{name} {number}", file.getvalue()


def damaged() -> bytes:
    """Return a truncated JPEG, as after an interrupted upload."""
    content = draw(0)[1]
    return content[: len(content) // 3]


def _sky(top: Colour, horizon: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize(SIZE)
    return Image.composite(Image.new("RGB", SIZE, horizon), Image.new("RGB", SIZE, top), mask)


def _stars(picture: Image.Image, chance: random.Random) -> None:
    pen = ImageDraw.Draw(picture)
    for _ in range(400):
        x, y, size = chance.uniform(0, SIZE[0]), chance.uniform(0, SIZE[1] * 0.6), chance.random()
        pen.ellipse((x, y, x + 1 + 2 * size, y + 1 + 2 * size), fill=(200, 208, 235))


def _sun(picture: Image.Image, light: Colour, chance: random.Random) -> None:
    x, y = chance.uniform(300, SIZE[0] - 300), chance.uniform(200, 480)
    radius = chance.uniform(60, 110)
    glow = Image.new("L", SIZE, 0)
    pen = ImageDraw.Draw(glow)
    pen.ellipse((x - 2 * radius, y - 2 * radius, x + 2 * radius, y + 2 * radius), fill=110)
    glow = glow.filter(ImageFilter.GaussianBlur(radius * 0.8))
    ImageDraw.Draw(glow).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    picture.paste(light, (0, 0), glow)


def _ridge(picture: Image.Image, colour: Colour, depth: float, chance: random.Random) -> None:
    width, height = SIZE
    base = height * (0.5 + 0.45 * depth)
    waves = [
        (chance.uniform(0.6, 1.2) * 90 / octave, octave * chance.uniform(1, 1.6), chance.random())
        for octave in (1, 2, 4, 9, 21)
    ]
    outline = [
        (x, base + sum(a * math.sin(math.tau * (f * x / width + p)) for a, f, p in waves))
        for x in range(0, width + 8, 8)
    ]
    ImageDraw.Draw(picture).polygon([(0, height), *outline, (width, height)], fill=colour)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
