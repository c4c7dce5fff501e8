"""The tests' settings with Sentry, whose transport writes into the file ``TEST_SENTRY``."""

import sentry_sdk

from django_jobs.contrib.sentry import DjangoJobsIntegration
from tests.contrib.envelopes import Written
from tests.settings import *  # noqa: F403

sentry_sdk.init(
    "http://key@localhost/1",
    transport=Written,
    traces_sample_rate=1.0,
    integrations=[DjangoJobsIntegration(monitor_schedules=True)],
)
# The thread of the transport takes the first one. The others wait in its queue meanwhile.
for number in range(3):
    sentry_sdk.capture_message(f"message {number} of the settings")
