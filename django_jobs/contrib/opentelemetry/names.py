"""The names of attributes, and the version of the semantic conventions that defines them."""

from __future__ import annotations

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

#: The value of :data:`SYSTEM`.
DJANGO_JOBS = "django_jobs"
SEND, PROCESS = "send", "process"

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
CONVERSATION_ID = "messaging.message.conversation_id"
MESSAGE_COUNT = "messaging.batch.message_count"
CLIENT_ID = "messaging.client.id"
ERROR_TYPE = "error.type"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"

# Our own.
JOB_NAME = "django_jobs.job.name"
JOB_ATTEMPT = "django_jobs.job.attempt"
JOB_STATUS = "django_jobs.job.status"


def operation(kind: str) -> dict[str, str]:
    """Return the attributes of an operation: of :data:`SEND` or :data:`PROCESS`."""
    return {SYSTEM: DJANGO_JOBS, OPERATION_NAME: kind, OPERATION_TYPE: kind}
