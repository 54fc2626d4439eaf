"""The services that moto implements, mounted in this process, under one account and without a network.

This module owns the table of these services, their WSGI applications, and the lock that separates requests from
snapshots. An operation that moto lacks is refused by name.
"""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from local.core import regex
from local.core.errors import AwsError
from local.core.event_bus import EventBus
from local.core.identity import ACCOUNT, PARTITION
from local.core.keys import OWN, Key, KeyRing
from local.core.protocol import Response
from local.services import iam, kms, s3
from local.services.logs import metric_filters
from local.services.logs import names as log_names
from local.services.moto import callers, requests
from local.services.moto.deferred import defer_imports
from local.services.moto.refusals import make_error

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from local.services.moto.undo import Undo

log = logging.getLogger(__name__)

# moto reads its settings at import. Buckets are addressed only by path, since an IP address has no subdomains.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "1")
os.environ.setdefault("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "1")


@dataclass(frozen=True)
class MotoService:
    """One service of moto.

    Attributes:
        model: botocore's name for it.
        backend: moto's name for it.
        invalid: The service's error code for an invalid parameter.
        delivers: Other backends of moto that its requests write to.
    """

    model: str
    backend: str
    invalid: str = "ValidationException"
    delivers: tuple[str, ...] = ()


#: The services by their name in a signature's credential scope.
SERVICES: Mapping[str, MotoService] = {
    "application-autoscaling": MotoService("application-autoscaling", "applicationautoscaling"),
    "budgets": MotoService("budgets", "budgets", "InvalidParameterException"),
    "ecr": MotoService("ecr", "ecr", "InvalidParameterException"),
    "events": MotoService("events", "events", delivers=("logs", "sns", "sqs")),
    "iam": MotoService("iam", "iam", "ValidationError"),
    "kms": MotoService("kms", "kms"),
    "logs": MotoService("logs", "logs", "InvalidParameterException"),
    "monitoring": MotoService("cloudwatch", "cloudwatch", "ValidationError", ("sns", "sqs")),
    "s3": MotoService("s3", "s3", delivers=("sns", "sqs")),
    "scheduler": MotoService("scheduler", "scheduler"),
    "sns": MotoService("sns", "sns", "InvalidParameter", ("sqs",)),
    "sqs": MotoService("sqs", "sqs", "InvalidParameterValue"),
    "ssm": MotoService("ssm", "ssm"),
    # moto keeps the keys of sessions in IAM's backend.
    "sts": MotoService("sts", "sts", "ValidationError", ("iam",)),
}

#: Prefixes of operations that change nothing; all others require a new snapshot.
_READS = ("Get", "List", "Describe", "Head", "Filter", "Lookup", "Encrypt", "Decrypt", "GenerateDataKey", "Simulate")

#: Seconds between two polls of a waiting ReceiveMessage.
_POLL = 0.1
_LONGEST_POLL = 20
#: The most requests that may wait at the same time.
_POLLS = 24

#: Operations that moto answers with session tokens that this cloud would not accept.
_ABSENT = frozenset({("sts", "GetSessionToken"), ("sts", "GetFederationToken")})


def is_read(operation: str) -> bool:
    """Return True if an operation changes nothing."""
    return operation.startswith(_READS)


class MotoMount:
    """moto's WSGI applications, each created at its first request.

    Attributes:
        lock: Held while moto works. Every direct reader of moto's backends holds it, too.
        changed: Names of moto's backends that changed since the last snapshot.
        own_changed: Names of those that only got metrics of the cloud's own parts, whose snapshot can wait.
    """

    def __init__(self, stopping: threading.Event, keys: KeyRing, events: EventBus) -> None:
        self.lock = threading.RLock()
        self.changed: set[str] = set()
        self.own_changed: set[str] = set()
        self._stopping = stopping
        self._polls = threading.BoundedSemaphore(_POLLS)
        self._keys, self._events = keys, events
        defer_imports()
        keys.find_elsewhere = self.find_key
        #: Restores what a refused request has changed; None where the state is not kept on disk.
        self.undo: Undo | None = None
        self._apps: dict[str, WSGIApplication] = {}

    def call(
        self, service: MotoService, environ: WSGIEnvironment, operation: str, params: Mapping[str, Any]
    ) -> Response:
        """Answer one request with moto.

        Args:
            service: The service that was called.
            environ: The request, which moto reads; its signature is checked already, and it names the region.
            operation: botocore's name of the operation.
            params: The parameters by botocore's names, for messages and the wait of ReceiveMessage; empty for S3.

        Returns:
            moto's response, which may be an error, without its request id.

        Raises:
            AwsError: moto lacks the operation, or cannot perform it with these parameters; nothing has changed.
        """
        if (service.model, operation) in _ABSENT:
            raise AwsError(
                "UnknownOperationException", f"{service.model}: {operation} is not available in the local cloud.", 501
            )
        if service.model == "sqs" and operation == "ReceiveMessage":
            return self._receive(service, environ, params)
        return self._call(service, environ, operation, params)

    def _call(
        self, service: MotoService, environ: WSGIEnvironment, operation: str, params: Mapping[str, Any]
    ) -> Response:
        environ[OWN] = self._keys.is_own(environ.get("HTTP_AUTHORIZATION", ""))
        with self.lock:
            app = self._app(service)
            if is_read(operation):
                return self._answer(app, service, environ, operation, params)
            # The metrics of the cloud's own parts arrive once a minute, also at rest, and are never refused.
            is_own_metric = environ[OWN] and operation == "PutMetricData"
            changed = self.own_changed if is_own_metric else self.changed
            changed.update({service.backend, *service.delivers})
            before = self.undo.take(service.backend) if self.undo and not is_own_metric else None
            try:
                response = self._answer(app, service, environ, operation, params)
            except AwsError:
                if self.undo and before:
                    self.undo.restore(before)
                raise
            if response.status >= 400 and self.undo and before:
                self.undo.restore(before)
            return response

    def _answer(
        self,
        app: WSGIApplication,
        service: MotoService,
        environ: WSGIEnvironment,
        operation: str,
        params: Mapping[str, Any],
    ) -> Response:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc: object = None) -> Callable[[bytes], None]:
            started.append((status, headers))
            return lambda _data: None

        try:
            body = b"".join(app(environ, cast(Any, start_response)))
        except NotImplementedError as error:
            raise AwsError(
                "UnknownOperationException",
                f"{service.model}: {operation} is not available in the local cloud ({error}).",
                501,
            ) from error
        except Exception as error:
            log.warning("moto: %s %s", service.model, operation, exc_info=True)
            raise make_error(service.model, service.invalid, operation, params, error) from error
        status, headers = started[-1]
        # The gateway adds its own request id.
        kept = {name: value for name, value in headers if name.lower() != "x-amzn-requestid"}
        return Response(int(status.split()[0]), kept, body)

    def _app(self, service: MotoService) -> WSGIApplication:
        app = self._apps.get(service.backend)
        if app is None:
            from moto.moto_server.werkzeug_app import create_backend_app

            app = cast("WSGIApplication", create_backend_app(cast(Any, service.backend)))
            requests.install()
            regex.use_re2_in_moto(service.backend)
            if service.backend == "s3":
                s3.install(self._events)
                requests.install_s3(app)
            elif service.backend == "sts":
                callers.install(self._keys.find)
            elif service.backend == "iam":
                iam.install()
            elif service.backend == "kms":
                kms.install()
            elif service.backend == "logs":
                log_names.install()
                metric_filters.install_checks()
            self._apps[service.backend] = app
        return app

    def find_key(self, access_key_id: str) -> Key | None:
        """Return the key of an IAM user or of a session of STS, or None.

        Args:
            access_key_id: The id that a request names, of a key that may be inactive, expired or unknown.
        """
        from moto.iam.models import iam_backends
        from moto.sts.models import sts_backends

        with self.lock:
            made = iam_backends[ACCOUNT][PARTITION].access_keys.get(access_key_id)
            if made is None or made.status != "Active":
                return None
            session = sts_backends[ACCOUNT][PARTITION].get_assumed_role_from_access_key(access_key_id)
            if session is None:
                return Key(made.secret_access_key)
            # Its account is the role's, which may differ in moto; this cloud has only one.
            expired = session.expiration < datetime.now(UTC).replace(tzinfo=session.expiration.tzinfo)
            return None if expired else Key(session.secret_access_key, session.arn, session.session_token)

    def _receive(self, service: MotoService, environ: WSGIEnvironment, params: Mapping[str, Any]) -> Response:
        """Answer ReceiveMessage and wait up to 20 s for messages here, so that moto's lock is free meanwhile."""
        body = environ["wsgi.input"].read()
        wait = float(params.get("WaitTimeSeconds") or 0)
        if not 0 <= wait <= _LONGEST_POLL:
            raise AwsError(
                service.invalid,
                f"Value {wait:g} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= "
                f"{_LONGEST_POLL}, if provided.",
            )
        if environ.get("HTTP_X_AMZ_TARGET"):
            body = json.dumps({**params, "WaitTimeSeconds": 0}).encode()
        # Each waiting request holds a thread; with too many of them, the next is answered like a short poll.
        waits = wait > 0 and self._polls.acquire(blocking=False)
        try:
            return self._polled(service, environ, params, body, time.monotonic() + (wait if waits else 0))
        finally:
            if waits:
                self._polls.release()

    def _polled(
        self, service: MotoService, environ: WSGIEnvironment, params: Mapping[str, Any], body: bytes, deadline: float
    ) -> Response:
        while True:
            once = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            response = self._call(service, once, "ReceiveMessage", params)
            empty = response.status == 200 and b'"Messages"' not in cast(bytes, response.body)
            if not empty or time.monotonic() + _POLL > deadline or self._stopping.wait(_POLL):
                return response
