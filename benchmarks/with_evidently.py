"""The drift of all columns with Evidently, in an environment of its own: `with_evidently.py TRAINING WINDOW`.

Prints JSON: its version, the processor time of the statistics alone, without import and reading, and the peak memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version

import pandas
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main(training: str, window: str) -> None:
    """Compare two Parquet files of the same columns by the population stability index.

    Args:
        training: The rows of training.
        window: The rows of the window.
    """
    frames = [pandas.read_parquet(path) for path in (training, window)]
    numbers = [name for name, kind in frames[0].dtypes.items() if kind.kind == "f"]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in frames[0] if name not in numbers]
    )
    began = time.process_time()
    reference, current = (Dataset.from_pandas(frame, definition) for frame in frames)
    found = Report([DataDriftPreset(method="psi")]).run(current, reference).dict()
    seconds = time.process_time() - began
    result = {
        "version": version("evidently"),
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "drifted": found["metrics"][0]["value"]["count"],
    }
    sys.stdout.write(f"\n{json.dumps(result)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
