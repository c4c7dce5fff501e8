"""The addresses of a project whose own admin has only some of the pages."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from django_jobs.admin import ScheduleAdmin, WorkerAdmin
from django_jobs.models import Schedule, Worker

site = admin.AdminSite("ops")
site.register(Schedule, ScheduleAdmin)
site.register(Worker, WorkerAdmin)

urlpatterns = [path("ops/", site.urls), path("admin/", admin.site.urls)]
