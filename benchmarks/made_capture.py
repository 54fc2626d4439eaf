"""The capture of a window that the made model answered, as the local cloud writes it, and the same rows as Parquet."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made import CASE, NOW, NUMBERS, SINCE, TEXTS, VERSION, draw_rows, score
from training import columns as c
from training.columns import Array
from training.io import format_time
from training.modeling.train import SCORE

#: Requests of a capture file: as many as the local cloud writes.
REQUESTS = 500


def answer(folder: Path, rows: int) -> None:
    """Write the rows of the window, with the scores that the model that :func:`train` made answered.

    Args:
        folder: The model's folder.
        rows: Rows of the window.
    """
    served = draw_rows(rows, SINCE, NOW, 1.0)
    c.write(served, folder / "rows" / "window.parquet")
    c.write({**served, SCORE: score(folder, served)}, folder / "served.parquet")


def write_frames(folder: Path) -> tuple[Path, Path]:
    """Write the columns that drift is measured of, for a tool that wants the rows of training; return both files."""
    trained, served = c.read(folder / "rows" / "training.parquet"), c.read(folder / "served.parquet")
    files = folder / "reference.parquet", folder / "current.parquet"
    for file, rows in zip(files, ({**trained, SCORE: score(folder, trained)}, served), strict=True):
        c.write({name: rows[name] for name in [*NUMBERS, *TEXTS, SCORE]}, file)
    return files


def write_capture(folder: Path, per_request: int) -> int:
    """Write capture files as the local cloud writes them, and return their bytes.

    Args:
        folder: Where :func:`capture` wrote the rows.
        per_request: Rows of a request.
    """
    served, total = c.read(folder / "served.parquet"), 0
    target = folder / f"capture-{per_request}"
    target.mkdir()
    for number, first in enumerate(range(0, len(served["key"]), REQUESTS * per_request)):
        chosen = np.arange(first, min(first + REQUESTS * per_request, len(served["key"])))
        lines = list(_make_lines(c.select_rows(served, chosen), per_request))
        total += (target / f"{number:06}.jsonl").write_bytes(("\n".join(lines) + "\n").encode())
    return total


def _make_lines(rows: dict[str, Array], per_request: int) -> Iterator[str]:
    plain = {name: rows[name].tolist() for name in ("key", *TEXTS)}
    plain["at"] = [format_time(time) for time in rows["at"]]
    for name in NUMBERS:
        plain[name] = [None if value != value else round(value, 4) for value in rows[name].tolist()]
    records = [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]
    scores = rows[SCORE].tolist()
    for first in range(0, len(records), per_request):
        asked = records[first : first + per_request]
        answers: list[dict[str, Any]] = [
            {"key": record["key"], "score": score, "label": int(score >= CASE.threshold)}
            for record, score in zip(asked, scores[first : first + per_request], strict=True)
        ]
        meta = {"meta": {"schema": 2, "model_version": VERSION, "request_id": str(uuid.uuid4())}}
        single = per_request == 1
        bodies = {
            "endpointInput": ("INPUT", asked[0] if single else {"instances": asked}),
            "endpointOutput": ("OUTPUT", {**answers[0], **meta} if single else {"predictions": answers, **meta}),
        }
        sides = {
            side: {
                "observedContentType": "application/json", "mode": mode,
                "data": json.dumps(body, separators=(",", ":")), "encoding": "JSON",
            }
            for side, (mode, body) in bodies.items()
        }  # fmt: skip
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": f"{asked[0]['at'][:19]}Z"}
        document = {"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"}
        yield json.dumps(document, separators=(",", ":"))
