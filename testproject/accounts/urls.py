from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("sign-up/", views.sign_up, name="sign-up"),
    path("registration/", views.registration, name="registration"),
    path("registration/status/", views.registration_status, name="registration-status"),
    path("registration/again/", views.send_again, name="send-again"),
    path("activate/<str:token>/", views.activate, name="activate"),
    path("outbox/", views.outbox, name="outbox"),
    path("login/", LoginView.as_view(template_name="accounts/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
