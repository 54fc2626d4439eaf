"""The errors that handlers raise, with AWS's codes and messages.

A handler refuses a request by raising :class:`AwsError`; the gateway writes it in the wire format of the
service's protocol. Any other exception in a handler is a bug and becomes a logged ``InternalFailure``.
"""

from __future__ import annotations

from local.errors import LocalError


class AwsError(LocalError):
    """An error response to a client.

    Args:
        code: The error code as AWS spells it, e.g. ``ValidationException``.
        message: The message as AWS words it.
        status: The HTTP status.
        fields: Further members of a modelled error shape, e.g. ``OriginalStatusCode`` of ``ModelError``.
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields


def validation_error(message: str) -> AwsError:
    """Return a ``ValidationException``, which SageMaker uses for most errors, including not-found.

    Args:
        message: The message as AWS words it.
    """
    return AwsError("ValidationException", message)


def not_found_error(message: str) -> AwsError:
    """Return a ``ResourceNotFound``: pipelines, executions, feature groups and tuning jobs use it, endpoints do not.

    Args:
        message: The message as AWS words it.
    """
    return AwsError("ResourceNotFound", message)


def in_use_error(message: str) -> AwsError:
    """Return a ``ResourceInUse``, the error for a taken name of a job or feature group.

    Args:
        message: The message as AWS words it.
    """
    return AwsError("ResourceInUse", message)
