from django.urls import path

from . import views

urlpatterns = [
    path("", views.airports, name="airports"),
    path("import/", views.start_import, name="import"),
    path("import/<int:pk>/status/", views.import_status, name="import-status"),
    path("compare/", views.start_comparison, name="compare"),
    path("compare/<int:pk>/status/", views.comparison_status, name="comparison-status"),
    path("report/", views.report, name="report"),
    path("report/new/", views.start_report, name="report-new"),
    path("report/<int:pk>/status/", views.report_status, name="report-status"),
    path("report/<int:pk>.csv", views.report_csv, name="report-csv"),
]
