from smtplib import SMTPException

from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import timezone

from django_jobs import job

from .activation import LIFETIME, link_for
from .models import Registration


@job
def remove_unconfirmed() -> int:
    """Delete the users who never confirmed their sign-up; return how many there were."""
    stale = Registration.objects.filter(
        activated_at=None, created_at__lt=timezone.now() - LIFETIME, user__is_active=False
    )
    users = get_user_model().objects.filter(registration__in=stale)
    number = users.count()
    users.delete()
    return number


@job
def count_accounts() -> dict[str, int]:
    """Return how many users there are, and how many sign-ups wait for their confirmation."""
    waiting = Registration.objects.filter(activated_at=None).count()
    return {"users": get_user_model().objects.count(), "waiting": waiting}


@job(
    queue="mail",
    priority=5,
    max_retries=5,
    autoretry_for=(SMTPException, OSError),
    expires=LIFETIME,
    # Clicks on "Send again" send at most one mail a minute.
    unique_for=60,
)
def send_activation(registration_id: int) -> str:
    """Send the mail with the activation link; return the address.

    The argument is an id, and the job makes the link, so no secret is stored with the job.
    """
    registration = Registration.objects.select_related("user").get(pk=registration_id)
    context = {"user": registration.user, "link": link_for(registration.pk), "life": LIFETIME.days}
    text = render_to_string("accounts/activation.txt", context)
    send_mail("Activate your account", text, None, [registration.user.email])
    Registration.objects.filter(pk=registration.pk).update(mailed_at=timezone.now())
    return registration.user.email
