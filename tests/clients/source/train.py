"""User program that ModelTrainer and Estimator run: reads the folder of the model and writes a model."""

import os
from pathlib import Path

Path(os.environ["SM_MODEL_DIR"]).joinpath("model.txt").write_text("model")
print("auc=0.9;")  # noqa: T201 - the metric
