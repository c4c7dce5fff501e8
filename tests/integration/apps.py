from django.apps import AppConfig


class IntegrationConfig(AppConfig):
    name = "tests.integration"
    label = "tests_integration"
