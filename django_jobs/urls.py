"""URLs for a project's ``urls.py``: ``path("jobs/", include("django_jobs.urls"))``."""

from django.urls import path

from .web import approvals, enqueue, health, views

app_name = "django_jobs"
urlpatterns = [
    path("enqueue", enqueue.enqueue, name="enqueue"),
    path("metrics", views.metrics, name="metrics"),
    path("health/live", health.live, name="health_live"),
    path("health/ready", health.ready, name="health_ready"),
    path("status/<uuid:job_id>", views.status, name="status"),
    path("approval/<uuid:job_id>", approvals.approval, name="approval"),
]
