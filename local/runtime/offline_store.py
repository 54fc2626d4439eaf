"""The offline store: rows of feature groups as Parquet files in S3, in AWS's layout and columns.

Rows are written within fifteen minutes of the cloud's time, by group and hour of event time, to
``<ResolvedOutputS3Uri>/year=…/month=…/day=…/hour=…/<event time>_<16 characters>.parquet``. Files are only ever added.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import logging
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.cloud.store import Document
from local.runtime.record_store import RecordStore, Row

if TYPE_CHECKING:
    import pyarrow as pa

    from local.cloud.context import Cloud

log = logging.getLogger(__name__)

_DELAY = 900.0
_LEAST_DELAY = 1.0

#: So many rows are written without waiting longer.
_MANY = 50_000

#: Real seconds between two looks at the buffer.
_LOOK = 0.5


class OfflineStore:
    """Writes what :class:`~local.runtime.record_store.RecordStore` has waiting."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._records = cloud.part(RecordStore)
        self._writing = threading.Lock()

    def run(self) -> None:
        """Write what is due until the cloud stops, then what is left.

        What cannot be written then, or after a kill, is written at the next start.
        """
        self.flush()
        delay = max(_LEAST_DELAY, self._cloud.clock.real(_DELAY))
        while not self._cloud.stopping.wait(_LOOK):
            count, oldest = self._records.waiting()
            if count and (count >= _MANY or self._cloud.clock.now() - oldest >= delay):
                self.flush()
        self.flush()

    def flush(self) -> None:
        """Write every waiting row now.

        A group whose rows cannot be written gets the OfflineStoreStatus Blocked, and keeps them.
        """
        with self._writing:
            batches = self._records.assign(uuid.uuid4().hex)
            # Read after the rows were taken, so that the groups have every feature that a row has.
            groups = {group["FeatureGroupArn"]: group for group in self._cloud.store.list("feature-group")}
            blocked: dict[str, str] = {}
            for batch in batches:
                arn = batch.partition("|")[0]
                if arn in blocked:
                    continue
                if arn not in groups:
                    log.error("%s is gone: %d rows of its offline store are lost", arn, len(self._records.rows(batch)))
                    self._records.drop(batch)
                    continue
                try:
                    self._write(groups[arn], batch)
                except (ClientError, BotoCoreError) as error:
                    blocked[arn] = str(error)
            for arn, group in groups.items():
                self._report(group, blocked.get(arn))

    def _write(self, group: Document, batch: str) -> None:
        rows = self._records.rows(batch)
        config = group["OfflineStoreConfig"]["S3StorageConfig"]
        bucket, _, prefix = re.sub(r"^(s3|https)://", "", config["ResolvedOutputS3Uri"]).partition("/")
        encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config["KmsKeyId"]} if config.get("KmsKeyId") else {}
        )
        region = group["FeatureGroupArn"].split(":")[3]
        self._cloud.client("s3", region).put_object(
            Bucket=bucket, Key=f"{prefix}/{_key(rows[0], batch)}", Body=_parquet(group, rows), **encryption
        )
        self._records.drop(batch)

    def _report(self, group: Document, problem: str | None) -> None:
        now = group.get("OfflineStoreStatus")
        wanted = {"Status": "Blocked", "BlockedReason": problem[:1024]} if problem else {"Status": "Active"}
        if now is None or now == wanted:
            return
        if problem:
            log.warning("the offline store of %s cannot be written: %s", group["FeatureGroupArn"], problem)

        def change(document: Document) -> None:
            document["OfflineStoreStatus"] = wanted

        region = group["FeatureGroupArn"].split(":")[3]
        self._cloud.store.update("feature-group", region, group["FeatureGroupName"], change)


def _key(first: Row, batch: str) -> str:
    time = dt.datetime.fromtimestamp(first.event_time, dt.UTC)
    suffix = hashlib.sha256(batch.encode()).hexdigest()[:16].upper()
    return f"{time:year=%Y/month=%m/day=%d/hour=%H}/{time:%Y%m%dT%H%M%SZ}_{suffix}.parquet"


def schema(group: Mapping[str, Any]) -> pa.Schema:
    """The columns of a group's files: its features, then those that the feature store adds."""
    import pyarrow as pa

    types = {"Integral": pa.int64(), "Fractional": pa.float64(), "String": pa.string()}
    fields = [pa.field(each["FeatureName"], types[each["FeatureType"]]) for each in group["FeatureDefinitions"]]
    return pa.schema(
        [
            *fields,
            pa.field("write_time", pa.timestamp("ms")),
            pa.field("api_invocation_time", pa.timestamp("ms")),
            pa.field("is_deleted", pa.bool_()),
        ]
    )


def _parquet(group: Mapping[str, Any], rows: Sequence[Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    columns = [
        {
            **row.values,
            "write_time": now,
            "api_invocation_time": dt.datetime.fromtimestamp(row.written, dt.UTC).replace(tzinfo=None),
        }
        for row in rows
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(columns, schema=schema(group)), sink, compression="snappy")
    return sink.getvalue()
