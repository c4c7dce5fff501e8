from collections.abc import Sequence

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from django_jobs import AsyncResult, job, progress

from .models import Picture
from .samples import draw
from .thumbnails import NotAPicture, shrink


@job(
    queue="pictures",
    priority=3,
    unique=True,
    soft_time_limit=30,
    autoretry_for=(OSError,),
    throws=(NotAPicture,),
)
def make_thumbnail(picture_id: int) -> dict[str, int]:
    """Store the thumbnail of a picture.

    A storage that does not answer is tried again; a file that is no picture is an answer.
    """
    picture = Picture.objects.get(pk=picture_id)
    with picture.original.open("rb") as file:
        small, width, height = shrink(file.read())
    name = f"thumbnails/{picture.pk}.webp"
    default_storage.delete(name)
    thumbnail = default_storage.save(name, ContentFile(small))
    Picture.objects.filter(pk=picture.pk).update(thumbnail=thumbnail, width=width, height=height)
    return {"width": width, "height": height, "bytes": len(small)}


@job(queue="pictures", unique=True)
def draw_samples(first: int, count: int) -> int:
    """Draw samples *first*, *first* + 1, …; a second run draws only the missing ones."""
    drawn = 0
    for done in range(count):
        progress(done, count, f"Drawing picture {done + 1} of {count}.")
        drawn += _draw_sample(first + done)
    progress(count, count, f"{drawn} pictures drawn.")
    return drawn


def _draw_sample(number: int) -> bool:
    if Picture.objects.filter(sample=number).exists():
        return False
    title, content = draw(number)
    picture = Picture(title=title, sample=number)
    picture.original.save(f"sample-{number}.jpg", ContentFile(content), save=False)
    add_pictures([picture])
    return True


@transaction.atomic
def add_pictures(pictures: Sequence[Picture]) -> list[AsyncResult]:
    """Save new pictures and enqueue their thumbnails in one transaction."""
    for picture in pictures:
        picture.save()
    return enqueue_thumbnails(pictures)


@transaction.atomic
def enqueue_thumbnails(pictures: Sequence[Picture]) -> list[AsyncResult]:
    results = make_thumbnail.delay_many([(picture.pk,) for picture in pictures])
    for picture, result in zip(pictures, results, strict=True):
        Picture.objects.filter(pk=picture.pk).update(job_id=result.id)
    return results
