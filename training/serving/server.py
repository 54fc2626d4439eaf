"""The model server: SageMaker's `/ping` and `/invocations` on top of the code that trained the model.

A record is treated like a training row: typed columns, the tables' values as known when the prediction is made (given
in the request or looked up), features, score. No request stops the server; it serves until SIGTERM, answers what has
arrived, and exits.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace import DeclarationError, MillraceError
from millrace.errors import DataError, Diagnosis, OwnCodeError
from millrace.inventory import JobVariable
from millrace.metrics import Problem
from training.columns import Array, find_kind
from training.data.feature_store import StoreError
from training.io import print_progress
from training.job import Job
from training.modeling.model import MODEL, Model
from training.serving.answer import (
    FINGERPRINT,
    META,
    PREDICTIONS,
    find_model_version,
    format_csv,
    format_json,
    format_lines,
    make_meta,
)
from training.serving.lookup import OnlineTables
from training.serving.requests import CSV, JSON, JSON_LINES, TYPES, Batch, Payload, Refusal, Schema, read_payload

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Requests that are processed concurrently; more would only share the same interpreter.
THREADS = 4
#: SageMaker's bound for real-time requests, MB.
MAX_MB = 6
#: Seconds that requests get to finish after SIGTERM; SageMaker kills after 30.
DRAIN = 25.0

_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
            413: "Content Too Large", 415: "Unsupported Media Type", 500: "Internal Server Error"}  # fmt: skip


def run_serve(job: Job) -> None:
    """Serve the model whose folder contains the bundle until SIGTERM.

    Args:
        job: This job; the model is the one whose folder contains its bundle.

    Raises:
        MillraceError: When the model, an environment variable or the port is invalid.
    """
    began = time.monotonic()
    port = _port(job)
    folder = job.bundle.parent.parent
    model = _load(job, folder)
    predictor = Predictor(job, model)
    _serve(
        Server(predictor, find_model_version(job.environment)),
        port,
        f"serving {job.use_case.name}, trained until {model.document['trained_until']}, on port {port}",
        began,
    )


def _port(job: Job) -> int:
    text = job.environment.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise DeclarationError(
            "environment variables",
            [Diagnosis(f"SAGEMAKER_BIND_TO_PORT={text!r}", "is not a port", expected="a port from 1 to 65535")],
        )
    return int(text)


def _load(job: Job, folder: Path) -> Model:
    try:
        model = Model.load(folder, job.functions)
    except MillraceError:
        raise
    except Exception as error:
        # Unpickling runs code that we do not know: whatever it raises, the reader of the log needs the file's name.
        raise DataError(
            f"the model {folder / MODEL}",
            f"cannot be loaded ({type(error).__name__}: {error})",
            expected="a model that a training job of this bundle wrote",
        ) from error
    trained, here = model.document["libraries"]["scikit-learn"], _version()
    if trained != here:
        raise DataError(
            "the model",
            f"was trained with scikit-learn {trained}, and this is {here}, which may load it incorrectly",
            fix="train again, or serve it in the image that trained it",
        )
    return model


def _version() -> str:
    import sklearn

    return str(sklearn.__version__)


def _client(job: Job) -> Any:
    """Return the online store's client with short timeouts, since the caller's request waits too."""
    service = "sagemaker-featurestore-runtime"
    return job.make_client(service, attempts=3, connect_timeout=2, read_timeout=5, max_pool_connections=THREADS)


class Predictor:
    """The predictor: converts the records of a request to answers."""

    def __init__(self, job: Job, model: Model) -> None:
        self._case = job.use_case
        self._model = model
        self._schema = Schema(job.use_case, model.document)
        self._tables = OnlineTables(job.use_case, job.names, _client(job)) if self._schema.tables else None

    @property
    def fields(self) -> list[str]:
        """The fields of an answer in CSV, in order."""
        label = ["label"] if self._case.problem is Problem.BINARY else []
        return [self._case.key, "score", *label, FINGERPRINT]

    def predict(self, payload: Payload) -> list[dict[str, Any]]:
        """Return one answer per record, in order.

        Args:
            payload: The records of a request.

        Returns:
            For each record the key and `score`; in a binary problem `label` (0 or 1); the `fingerprint` of its feature
            vector; `columns` with the values that were looked up.

        Raises:
            Refusal: When a record is not what the model needs.
            StoreError: When values cannot be looked up.
            DataError: When a score is not finite.
        """
        batch = self._schema.convert_batch(payload)
        columns, looked_up = self._with_tables(batch)
        features = self._model.compute_features(columns)
        scores = self._model.score(features)
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise DataError(f"row {row}: the model's score", f"is {scores[row]}", expected="a finite number")
        answers: list[dict[str, Any]] = [
            {self._case.key: key, "score": score} for key, score in zip(batch.keys, scores.tolist(), strict=True)
        ]
        if self._case.problem is Problem.BINARY:
            for answer in answers:
                answer["label"] = int(answer["score"] >= self._case.threshold)
        for answer, fingerprint in zip(answers, self._model.fingerprint(features).tolist(), strict=True):
            answer[FINGERPRINT] = fingerprint
        for rows, values in looked_up:
            for row in np.flatnonzero(rows).tolist():
                answers[row].setdefault("columns", {}).update({name: shown[row] for name, shown in values.items()})
        return answers

    def _with_tables(self, batch: Batch) -> tuple[dict[str, Array], list[tuple[Array, dict[str, list[Any]]]]]:
        """Return all columns and, for each table that was looked up, its rows and its values for JSON."""
        columns, looked_up = dict(batch.columns), []
        wanted = {name: ~given for name, given in batch.given.items()}
        tables = [(table, names) for table, names in self._schema.tables if wanted[table.name].any()]
        if tables:
            assert self._tables is not None
            found = self._tables.look_up_columns([table for table, _ in tables], columns, wanted)
            for table, names in tables:
                rows = wanted[table.name]
                for name in names:
                    given = columns.get(name)
                    columns[name] = found[name] if given is None else np.where(rows, found[name], given)
                looked_up.append((rows, {name: _shown(found[name]) for name in names}))
        return columns, looked_up


def _shown(values: Array) -> list[Any]:
    """Return values for JSON: None for a missing one, the shortest number that is the same float32."""
    if find_kind(values) == "text":
        return list(values)
    return [None if text == "nan" else float(text) for text in values.astype("U32").tolist()]


@dataclass
class Request:
    """A request to the model, as its log line describes it."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    began: float = field(default_factory=time.perf_counter)
    rows: int = 0
    """The records that it holds; 0 until they are read."""


class Server:
    """The WSGI application."""

    def __init__(self, predictor: Predictor, model_version: int | None = None) -> None:
        self._predictor = predictor
        self._version = model_version
        self._routes: dict[str, tuple[str, Callable[[WSGIEnvironment, Request], tuple[bytes, str]]]] = {
            "/ping": ("GET", lambda *_: (b"", JSON)),
            "/invocations": ("POST", self._invoke),
            "/execution-parameters": ("GET", lambda *_: (format_json(_BATCH), JSON)),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; one to the model is logged in one line."""
        request = Request()
        status, body, kind = self._answer(environ, request)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status} {_PHRASES[status]}", headers)
        if environ["PATH_INFO"] == "/invocations":
            self._log(request, status)
        return [body]

    def _answer(self, environ: WSGIEnvironment, request: Request) -> tuple[int, bytes, str]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        try:
            if path not in self._routes:
                known = ", ".join(self._routes)
                raise Refusal(f"{path[:100]!r}", "is not served", expected=f"one of {known}", status=404)
            wanted, handle = self._routes[path]
            if method != wanted:
                raise Refusal(path, f"does not accept {method}", expected=wanted, status=405)
            return (200, *handle(environ, request))
        except Refusal as refusal:
            status, document = refusal.status, refusal.document
        except (StoreError, DataError) as error:
            if isinstance(error, OwnCodeError):
                traceback.print_exception(error.__cause__)
            sys.stderr.write(f"error: {path}: request {request.id}: {error}\n")
            status, document = 500, {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the server survives every error of the use case's own code
            traceback.print_exc()
            status, document = 500, {"error": f"the model failed: {type(error).__name__}: {error}"}
        return status, format_json({**document, META: make_meta(self._version, request.id)}), JSON

    def _invoke(self, environ: WSGIEnvironment, request: Request) -> tuple[bytes, str]:
        accept = _accepted(environ.get("HTTP_ACCEPT", ""))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > MAX_MB * 2**20:
            raise Refusal(
                "the body", f"has {length} bytes", expected=f"at most {MAX_MB} MB", fix="send fewer records", status=413
            )
        payload = read_payload(environ["wsgi.input"].read(length), environ.get("CONTENT_TYPE", ""))
        request.rows = len(payload.records)
        answers = self._predictor.predict(payload)
        meta = make_meta(self._version, request.id)
        if accept == CSV:
            return format_csv(self._predictor.fields, answers, meta), CSV
        if accept == JSON_LINES:
            return format_lines(answers, meta), JSON_LINES
        document = answers[0] if payload.single else {PREDICTIONS: answers}
        return format_json({**document, META: meta}), JSON

    def _log(self, request: Request, status: int) -> None:
        """Write the request's log line; it holds no value of a record, because logs are kept and read by others."""
        line = {
            "request_id": request.id,
            "model_version": self._version,
            "status": status,
            "rows": request.rows,
            "ms": round((time.perf_counter() - request.began) * 1e3, 3),
        }
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()


#: The answer to batch transform's request for execution parameters.
_BATCH = {"MaxConcurrentTransforms": THREADS, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": MAX_MB}


def _accepted(header: str) -> str:
    """Return the content type of the answer: the one that the caller prefers among those it accepts.

    Raises:
        Refusal: When the caller accepts none that the server can answer with.
    """
    wanted = []
    for place, part in enumerate(header.split(",")):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_quality(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
        if kind and quality > 0:
            wanted.append((-quality, place, kind))
    if not header.strip():
        return JSON
    for _, _, kind in sorted(wanted):
        for known in TYPES:
            if kind in (known, "*/*", known.partition("/")[0] + "/*"):
                return known
    raise Refusal("Accept", f"is {header[:100]!r}", expected=f"one of {', '.join(TYPES)}", status=406)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _serve(application: Server, port: int, text: str, began: float) -> None:
    """Serve until SIGTERM or SIGINT, then until no request is left, for at most DRAIN seconds."""
    import waitress

    try:
        server: Any = waitress.create_server(
            application,
            # SageMaker sends requests from outside the container; elsewhere only this machine should send any.
            host=os.environ.get(JobVariable.BIND_ADDRESS) or "0.0.0.0",
            port=port,
            threads=THREADS,
            ident=None,
            # Bodies of more than MAX_MB are read and refused with our own message, up to 16 times that size.
            max_request_body_size=16 * MAX_MB * 2**20,
            asyncore_use_poll=True,
        )
    except OSError as error:
        raise MillraceError(
            f"port {port}", f"cannot be bound: {error.strerror}", fix="set SAGEMAKER_BIND_TO_PORT"
        ) from error
    deadline: list[float] = []

    def stop(*_: object) -> None:
        deadline.append(time.monotonic() + DRAIN)
        server.pull_trigger()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print_progress(f"{text}, ready after {time.monotonic() - began:.1f} s")
    while not deadline or (_is_busy(server) and time.monotonic() < deadline[0]):
        server.asyncore.loop(timeout=0.05 if deadline else 1.0, map=server._map, use_poll=True, count=1)
    print_progress("stopped")
    sys.stdout.flush()
    # Exit at once: threads and libraries have nothing to finish, and SageMaker waits for the process to end.
    os._exit(0)


def _is_busy(server: Any) -> bool:
    """Return True if a request is being received, processed or answered."""
    channels = list(server.active_channels.values())
    return any(each.request is not None or each.requests or each.total_outbufs_len for each in channels)
