from django.urls import path

from . import views

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("draw/", views.draw_more, name="gallery-draw"),
    path("again/", views.again, name="gallery-again"),
    path("status/", views.status, name="gallery-status"),
]
