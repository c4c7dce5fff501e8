from django.contrib import admin

from .models import Registration


@admin.register(Registration)
class RegistrationAdmin(admin.ModelAdmin):
    list_display = ("user", "created_at", "mailed_at", "activated_at")
    readonly_fields = ("created_at", "mailed_at", "activated_at", "job_id")
