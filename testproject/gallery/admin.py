from django.contrib import admin

from .models import Picture


@admin.register(Picture)
class PictureAdmin(admin.ModelAdmin):
    list_display = ("title", "width", "height", "uploaded_at")
    readonly_fields = ("width", "height", "thumbnail", "job_id", "uploaded_at")
    search_fields = ("title",)
