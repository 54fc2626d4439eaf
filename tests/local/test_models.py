"""Tests of botocore's models as the daemon loads them: shared and without documentation, but with the same content."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import botocore.session

_PROGRAM = """
import json, sys
import botocore.session
from local.core.models import share_models

share_models()
first, second = botocore.session.Session(), botocore.session.Session()
loaders = [each.get_component("data_loader") for each in (first, second)]
service = sys.argv[1]
for session in (first, second):
    session.create_client(service, "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
model = loaders[0].load_service_model(service, "service-2")
print(json.dumps({"shared": loaders[0] is loaders[1], "model": model}))
"""


def strip_documentation(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: ""
            if key in ("documentation", "documentationUrl") and isinstance(each, str)
            else strip_documentation(each)
            for key, each in value.items()
        }
    return [strip_documentation(each) for each in value] if isinstance(value, list) else value


def read(service: str) -> Any:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, service], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_all_services_of_the_cloud_are_as_botocore_has_them_but_for_documentation() -> None:
    loader = botocore.session.Session().get_component("data_loader")
    for service in ("s3", "sagemaker", "cloudwatch", "events", "iam", "sqs"):
        found = read(service)
        assert found["shared"]
        assert found["model"] == strip_documentation(loader.load_service_model(service, "service-2"))
        assert len(json.dumps(found["model"])) < len(json.dumps(loader.load_service_model(service, "service-2"))) / 1.5
