"""The demo site: thumbnails of uploaded and drawn pictures."""

import io
import re

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from django_jobs import Status
from django_jobs.models import Job
from testproject.gallery.jobs import draw_samples, make_thumbnail
from testproject.gallery.models import Picture
from testproject.gallery.samples import damaged, draw
from testproject.gallery.thumbnails import NotAPicture, shrink

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def jpeg(width: int = 1200, height: int = 800) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "JPEG")
    return file.getvalue()


def upload(client: Client, *contents: bytes, name: str = "sea.jpg"):
    files = [SimpleUploadedFile(name, content) for content in contents]
    return client.post(reverse("gallery"), {"files": files}, follow=True)


def test_upload_answers_before_the_thumbnail(client: Client) -> None:
    html = upload(client, jpeg()).content.decode()
    assert "One picture received" in html
    assert "Waiting for a worker." in html
    assert Job.objects.get().status == Status.PENDING
    assert Picture.objects.get().job_id == Job.objects.get().pk
    state = client.get(reverse("gallery-status")).json()
    assert (state["done"], state["total"], state["ended"]) == (0, 1, False)


@pytest.mark.usefixtures("eager")
def test_upload_of_two_makes_two_thumbnails(client: Client) -> None:
    html = upload(client, jpeg(), jpeg(300, 600)).content.decode()
    tall, wide = Picture.objects.all()
    assert (wide.width, wide.height, tall.width, tall.height) == (1200, 800, 300, 600)
    assert html.count("<img") == 2
    with Image.open(wide.thumbnail.open()) as small:
        assert (small.format, small.size) == ("WEBP", (480, 320))


@pytest.mark.usefixtures("eager")
def test_damaged_upload_fails_alone(client: Client) -> None:
    upload(client, damaged(), jpeg())
    good, bad = Picture.objects.all()
    assert good.thumbnail
    assert not bad.thumbnail


def test_damaged_upload_is_not_tried_again() -> None:
    picture = Picture(title="damaged")
    picture.original.save("damaged.jpg", ContentFile(damaged()))
    result = make_thumbnail.apply((picture.pk,))
    assert (result.status, result.job.attempt) == (Status.FAILURE, 1)
    assert isinstance(result.result, NotAPicture)


@pytest.mark.parametrize(("name", "content"), [("page.html", b"<p>"), ("empty.png", b"")])
def test_upload_refuses_files_that_are_not_pictures(
    client: Client, name: str, content: bytes
) -> None:
    html = upload(client, content, name=name).content.decode()
    assert "errorlist" in html
    assert not Picture.objects.exists()


def test_a_file_of_no_known_format_is_named_without_an_address_of_an_object() -> None:
    with pytest.raises(NotAPicture) as caught:
        shrink(b"no picture")
    assert str(caught.value) == "the file has no known format of pictures"


def test_shrink_refuses_pictures_that_unpack_too_large() -> None:
    file = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(file, "PNG")
    with pytest.raises(NotAPicture, match="more than"):
        shrink(file.getvalue())


def test_draw_button_enqueues_the_next_samples(client: Client) -> None:
    Picture.objects.create(title="old", sample=4, original="x.jpg")
    client.post(reverse("gallery-draw"))
    client.post(reverse("gallery-draw"))
    assert Job.objects.get().args == [5, 6]
    html = client.get(reverse("gallery")).content.decode()
    assert re.search(
        r"<progress[^>]*></progress>\s*<span data-job-text>Waiting for a worker<", html
    )
    assert client.get(reverse("gallery-status")).json()["ended"] is False


@pytest.mark.usefixtures("eager")
def test_draw_samples_twice_draws_once() -> None:
    assert draw_samples.delay(1, 2).get() == 2
    assert draw_samples.delay(1, 3).get() == 1
    assert Picture.objects.exclude(thumbnail="").count() == 3


def test_draw_is_the_same_every_time() -> None:
    assert draw(3) == draw(3)
    assert draw(3) != draw(9)


def test_again_button_enqueues_each_thumbnail_once(client: Client) -> None:
    upload(client, jpeg(), jpeg())
    client.post(reverse("gallery-again"))
    assert Job.objects.count() == 2
