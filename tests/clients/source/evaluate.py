"""Program of the processing steps in the pipelines: writes a report."""

import json
import os
from pathlib import Path

base = Path(os.environ["SAGEMAKER_BASE_DIR"])
(base / "processing" / "out" / "report.json").write_text(json.dumps({"auc": {"value": 0.9}}))
