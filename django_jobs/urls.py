"""URLs for a project's ``urls.py``: ``path("jobs/", include("django_jobs.urls"))``."""

from django.urls import path

from .web import views

app_name = "django_jobs"
urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("status/<uuid:job_id>", views.status, name="status"),
]
