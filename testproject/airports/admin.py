from django.contrib import admin

from .models import Airport, Comparison, ImportRun, Report


@admin.register(Airport)
class AirportAdmin(admin.ModelAdmin):
    list_display = ("code", "iata", "name", "city", "country")
    search_fields = ("=code", "=iata", "name", "city")


@admin.register(ImportRun)
class ImportRunAdmin(admin.ModelAdmin):
    list_display = ("id", "started_at", "finished_at", "imported", "total")


@admin.register(Comparison)
class ComparisonAdmin(admin.ModelAdmin):
    list_display = ("id", "created_at", "scope", "airports", "pairs")


@admin.register(Report)
class ReportAdmin(admin.ModelAdmin):
    list_display = ("id", "created_at", "finished_at")
