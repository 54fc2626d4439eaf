"""Documents in S3 that may not exist."""

from __future__ import annotations

import json

import pytest

from local import client
from millrace.errors import DataError
from millrace.monitor_report import MonitorReport
from queries.documents import find_document
from tests.local.conftest import CloudDaemon, cloud_daemon

__all__ = ["cloud_daemon"]


def test_a_document_is_read_not_found_or_refused(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="documents", CreateBucketConfiguration={"LocationConstraint": client.REGION})
    uri = "s3://documents/monitor/a/monitor.json"
    assert find_document(s3, uri, MonitorReport) is None
    assert find_document(s3, "s3://no-such-bucket-anywhere/a.json", MonitorReport) is None
    body = {"as_of": "2024-04-15T00:00:00Z", "since": "2024-04-01T00:00:00Z", "rows": 7}
    s3.put_object(Bucket="documents", Key="monitor/a/monitor.json", Body=json.dumps(body).encode())
    found = find_document(s3, uri, MonitorReport)
    assert found is not None
    assert found.rows == 7
    s3.put_object(Bucket="documents", Key="monitor/a/monitor.json", Body=b"\xff\xfe")
    with pytest.raises(DataError, match=f"^{uri} is not JSON"):
        find_document(s3, uri, MonitorReport)
