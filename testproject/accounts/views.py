from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from ..website.polling import Progress, progress_of, respond
from .activation import registration_of
from .forms import SignUpForm
from .jobs import send_activation
from .models import Registration
from .outbox import mails

_BACKEND = "django.contrib.auth.backends.ModelBackend"


def sign_up(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.session["registration"] = register(form).pk
        return redirect("registration")
    return render(request, "accounts/sign_up.html", {"form": form})


@transaction.atomic
def register(form: SignUpForm) -> Registration:
    """Create an inactive account and enqueue its mail in one transaction."""
    form.instance.is_active = False
    registration = Registration.objects.create(user=form.save())
    _send(registration)
    return registration


def registration(request: HttpRequest) -> HttpResponse:
    found = _own_registration(request)
    stamp = progress_of(found.job_id).stamp
    context = {"registration": found, "stamp": stamp}
    return render(request, "accounts/registration.html", context)


def registration_status(request: HttpRequest) -> JsonResponse:
    found = _own_registration(request)
    progress = progress_of(found.job_id)
    if found.mailed_at and progress.ended:
        text = f"The mail to {found.user.email} was sent."
        progress = Progress(progress.status, 1, 1, text, True, progress.stamp)
    return respond(progress)


@require_POST
def send_again(request: HttpRequest) -> HttpResponse:
    _send(_own_registration(request))
    messages.info(request, "Requested. The site sends at most one mail a minute.")
    return redirect("registration")


def activate(request: HttpRequest, token: str) -> HttpResponse:
    """Activate on POST only, because mail filters open links."""
    pk = registration_of(token)
    found = Registration.objects.select_related("user").filter(pk=pk).first()
    if found is None:
        return render(request, "accounts/activate.html", {"registration": None}, status=404)
    if request.method == "POST":
        _activate(found)
        login(request, found.user, backend=_BACKEND)
        messages.success(request, f"Welcome, {found.user}. Your account is active.")
        return redirect("home")
    return render(request, "accounts/activate.html", {"registration": found})


def outbox(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404("the outbox shows activation links; it is for development")
    return render(request, "accounts/outbox.html", {"mails": mails(settings.MAIL_DIR)})


def _own_registration(request: HttpRequest) -> Registration:
    pk = request.session.get("registration")
    return get_object_or_404(Registration.objects.select_related("user"), pk=pk)


def _send(registration: Registration) -> None:
    result = send_activation.delay(registration.pk)
    Registration.objects.filter(pk=registration.pk).update(job_id=result.id)


@transaction.atomic
def _activate(registration: Registration) -> None:
    if registration.activated_at is None:
        Registration.objects.filter(pk=registration.pk).update(activated_at=timezone.now())
        registration.user.is_active = True
        registration.user.save(update_fields=["is_active"])
