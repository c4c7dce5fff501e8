"""The pictures of the documentation: ``python -m docs.pictures`` makes them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from docs.pictures import MOST_BYTES, with_palette, write_both
from docs.terminal_pictures import COLUMNS, write_terminal
from tests.pages import DOCS, ROOT

pytestmark = pytest.mark.once

IMAGES = DOCS / "images"
PAGES = sorted(IMAGES.glob("*-dark.png"))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("dark", PAGES, ids=lambda path: path.name)
def test_a_page_has_a_light_and_a_dark_picture_of_one_size(dark: Path) -> None:
    light = dark.with_name(dark.name.replace("-dark", ""))
    assert size(light) == size(dark)
    assert light.read_bytes() != dark.read_bytes()


def test_texts_show_pictures_that_exist_and_every_picture_is_shown() -> None:
    texts = [*DOCS.glob("**/*.rst"), *ROOT.glob("README*.rst")]
    shown = {
        name
        for path in texts
        for name in re.findall(r"\.\. image:: \S*images/([\w.-]+)", path.read_text())
    }
    assert shown == {path.name for path in IMAGES.iterdir()}


def test_animation_takes_twenty_seconds_in_both_themes_and_is_small() -> None:
    path = IMAGES / "animation.svg"
    assert path.stat().st_size <= MOST_BYTES
    animations = re.findall(r"data:image/gif;base64,([^\"]+)", path.read_text())
    assert len(set(animations)) == 2
    for data in animations:
        with Image.open(io.BytesIO(base64.b64decode(data))) as animation:
            frames = getattr(animation, "n_frames", 1)
            lengths = []
            for number in range(frames):
                animation.seek(number)
                lengths.append(animation.info["duration"])
        assert frames > 10
        assert sum(lengths) == 20_000


def test_a_picture_for_both_themes_has_the_pictures_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docs.pictures.IMAGES", tmp_path)
    write_both("a", "png", [b"light", b"dark"])
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert [each.get("class") for each in root if each.tag.endswith("image")] == ["light", "dark"]


def test_the_admins_grey_stays_beside_its_white() -> None:
    picture = Image.new("RGB", (64, 64), (255, 255, 255))
    picture.paste((248, 248, 248), (0, 0, 64, 20))
    for number in range(600):
        picture.putpixel((number % 64, 40 + number // 64), (number % 256, number // 3, 99))
    picture.putpixel((0, 63), (252, 246, 246))
    shown = with_palette(picture).convert("RGB")
    assert [shown.getpixel(place) for place in ((1, 1), (1, 30))] == [(248,) * 3, (255,) * 3]


def test_lines_of_a_terminal_are_escaped_cut_and_coloured(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    write_terminal(path, "manage.py jobs top", ["a  <b>\x1b", "x" * 500, "1 failed"])
    root = ElementTree.parse(path).getroot()
    texts = ["".join(each.itertext()) for each in root if each.tag.endswith("text")]
    assert texts == [
        "$ manage.py jobs top".replace(" ", "\xa0"), "a\xa0\xa0<b>", "x" * (COLUMNS - 1) + "…",
        "1\xa0failed",
    ]  # fmt: skip
    (marked,) = (each for each in root.iter() if each.tag.endswith("tspan"))
    assert marked.get("class") == "bad"
