from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("testproject.website.urls")),
    path("gallery/", include("testproject.gallery.urls")),
    path("accounts/", include("testproject.accounts.urls")),
    path("airports/", include("testproject.airports.urls")),
    path("jobs/", include("django_jobs.urls")),
    path("admin/", admin.site.urls),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
