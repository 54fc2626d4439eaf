"""The answer of the model server: predictions, and `meta` that says which model answered which request.

A JSON answer holds `meta` once, beside `predictions` or in a bare record; each line of JSON Lines holds it; in CSV it
is two columns. Data capture keeps answers, so that every captured row is known as that of the version that served it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from millrace.errors import DeclarationError, Diagnosis
from millrace.inventory import JobVariable

#: The version of the schema of answers; the first had no `meta`, the second no fingerprints.
SCHEMA: Final = 3
META: Final = "meta"
PREDICTIONS: Final = "predictions"
#: The field of a prediction with the fingerprint of its feature vector.
FINGERPRINT: Final = "fingerprint"
MODEL_VERSION: Final = "model_version"
#: The columns of `meta` in CSV.
CSV_VERSION: Final = f"{META}_{MODEL_VERSION}"
CSV_REQUEST: Final = f"{META}_request_id"


def find_model_version(environment: Mapping[str, str]) -> int | None:
    """Return the version of the package that a container serves; None where its model is of no package.

    Args:
        environment: The container's environment variables.

    Raises:
        DeclarationError: When the variable is set to something other than a package's ARN.
    """
    arn = environment.get(JobVariable.MODEL_PACKAGE, "")
    if not arn:
        return None
    version = arn.rpartition("/")[2]
    if ":model-package/" not in arn or not version.isdecimal():
        raise DeclarationError(
            "environment variables",
            [Diagnosis(f"{JobVariable.MODEL_PACKAGE}={arn!r}", "is not a package", expected="the ARN of a version")],
        )
    return int(version)


def make_meta(model_version: int | None, request_id: str) -> dict[str, Any]:
    """Return the `meta` of an answer.

    Args:
        model_version: The version of the package that serves; None where it is of no package.
        request_id: The identifier of the request.
    """
    return {"schema": SCHEMA, MODEL_VERSION: model_version, "request_id": request_id}


def format_json(document: Any) -> bytes:
    """Return JSON without blanks; NaN is refused."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def format_lines(answers: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> bytes:
    """Return answers as JSON Lines, each with `meta`."""
    return b"\n".join(format_json({**answer, META: meta}) for answer in answers) + b"\n"


def format_csv(fields: Sequence[str], answers: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> bytes:
    """Return answers as CSV with a header: the given fields, then the version and the request.

    Args:
        fields: The fields of an answer, in order.
        answers: One per row.
        meta: The answer's `meta`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, CSV_VERSION, CSV_REQUEST])
    served = ["" if meta[MODEL_VERSION] is None else meta[MODEL_VERSION], meta["request_id"]]
    writer.writerows([*(answer[name] for name in fields), *served] for answer in answers)
    return text.getvalue().encode()


def read_version(prediction: Mapping[str, Any]) -> int:
    """Return the version of the package that made a captured prediction; 0 where the answer does not say.

    Args:
        prediction: A prediction with its own `meta`, or a line of CSV.
    """
    meta = prediction.get(META)
    found = meta.get(MODEL_VERSION) if isinstance(meta, Mapping) else prediction.get(CSV_VERSION)
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def read_fingerprint(prediction: Mapping[str, Any]) -> float:
    """Return the fingerprint of the features of a captured prediction; NaN where the answer has none.

    Args:
        prediction: A prediction, or a line of CSV.
    """
    found = prediction.get(FINGERPRINT)
    try:
        return math.nan if found is None or isinstance(found, bool) else float(found)
    except (TypeError, ValueError):
        return math.nan
