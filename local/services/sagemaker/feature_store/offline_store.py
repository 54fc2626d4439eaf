"""The offline store: rows of feature groups as Parquet files in S3, in AWS's layout and columns.

Rows are written within fifteen minutes of the local cloud's time, by group and hour of event time, to
``<ResolvedOutputS3Uri>/year=…/month=…/day=…/hour=…/<event time>_<16 characters>.parquet``. Files are only ever added.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import io
import logging
import re
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.store import Document
from local.services.sagemaker.feature_store.record_store import RecordStore, Row

if TYPE_CHECKING:
    import pyarrow as pa

    from local.core.context import Cloud

log = logging.getLogger(__name__)

_DELAY = 900.0
_LEAST_DELAY = 1.0

#: The number of buffered rows that are written before the delay is over.
_MANY = 50_000

#: Real seconds between two checks of the buffer.
_LOOK = 0.5

#: The maximum real seconds until a failed write is tried again.
_AGAIN = 60.0


class OfflineStore:
    """The writer of the rows that :class:`~local.services.sagemaker.feature_store.record_store.RecordStore` buffers."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._records = cloud.get_part(RecordStore)
        self._writing = threading.Lock()
        self._told: set[str] = set()

    def run(self) -> None:
        """Write rows when they are due until the local cloud stops, then the remaining ones.

        Rows that cannot be written then, or that a kill left behind, are written at the next start.
        """
        self._guarded_flush()
        delay = max(_LEAST_DELAY, self._cloud.clock.to_real_seconds(_DELAY))
        while not self._cloud.stopping.wait(_LOOK):
            try:
                count, oldest = self._records.measure_buffer()
            except Exception:
                log.exception("the rows that wait for the offline store cannot be counted; trying again")
                continue
            now = self._cloud.clock.now()
            due = count and (count >= _MANY or now - oldest >= delay)
            if due and not self._guarded_flush() and self._cloud.stopping.wait(min(delay, _AGAIN)):
                break
        self._guarded_flush()

    def _guarded_flush(self) -> bool:
        try:
            return self.flush()
        except Exception:
            # The worker must survive any error, because it writes the rows of all groups.
            log.exception("the offline store could not be written; trying again")
            return False

    def flush(self) -> bool:
        """Write all buffered rows now.

        A group whose rows cannot be written gets the OfflineStoreStatus Blocked and keeps them; others are written.

        Returns:
            True if no rows failed.
        """
        with self._writing:
            batches = self._records.assign_batches(uuid.uuid4().hex)
            # Read after the batches were assigned, so that the groups have every feature of the rows.
            groups = {group["FeatureGroupArn"]: group for group in self._cloud.store.list("feature-group")}
            blocked: dict[str, str] = {}
            away: set[str] = set()
            for batch in batches:
                arn = batch.partition("|")[0]
                if arn in away:
                    continue
                if arn not in groups:
                    log.error(
                        "%s is gone: %d rows of its offline store are lost", arn, len(self._records.read_batch(batch))
                    )
                    self._records.delete_batch(batch)
                    continue
                try:
                    self._write(groups[arn], batch)
                except (ClientError, BotoCoreError) as error:
                    blocked[arn] = str(error)
                    away.add(arn)
                except Exception as error:
                    # The rows of this batch are the cause; other batches must still be written.
                    blocked[arn] = f"{len(self._records.read_batch(batch))} rows cannot be written: {error}"
                    if batch not in self._told:
                        self._told.add(batch)
                        log.exception("rows of %s cannot be written to its offline store, and stay", arn)
            for arn, group in groups.items():
                self._report(group, blocked.get(arn))
            return not blocked

    def _write(self, group: Document, batch: str) -> None:
        rows = self._records.read_batch(batch)
        config = group["OfflineStoreConfig"]["S3StorageConfig"]
        bucket, _, prefix = re.sub(r"^(s3|https)://", "", config["ResolvedOutputS3Uri"]).partition("/")
        encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config["KmsKeyId"]} if config.get("KmsKeyId") else {}
        )
        region = group["FeatureGroupArn"].split(":")[3]
        self._cloud.client("s3", region).put_object(
            Bucket=bucket, Key=f"{prefix}/{_build_key(rows[0], batch)}", Body=_render_parquet(group, rows), **encryption
        )
        self._records.delete_batch(batch)

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


def _build_key(first: Row, batch: str) -> str:
    try:
        time = dt.datetime.fromtimestamp(first.event_time, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"event time {first.event_time} is no date, expected Unix seconds: {error}") from error
    suffix = hashlib.sha256(batch.encode()).hexdigest()[:16].upper()
    # %Y does not pad years with zeros on every platform.
    year = f"{time.year:04}"
    return f"year={year}/{time:month=%m/day=%d/hour=%H}/{year}{time:%m%dT%H%M%SZ}_{suffix}.parquet"


def build_schema(group: Mapping[str, Any]) -> pa.Schema:
    """Return the schema of a group's files: its features, then the columns that the feature store adds."""
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


class _WithoutPandas(MetaPathFinder):
    """A finder to which pandas is not installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        """Refuse to find pandas; leave all else to the other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used in this process", name=fullname)


@functools.cache
def _do_without_pandas() -> None:
    """Keep pyarrow from importing pandas, with 60 MB, only to look for its types among the values."""
    sys.meta_path.insert(0, _WithoutPandas())


def _render_parquet(group: Mapping[str, Any], rows: Sequence[Row]) -> bytes:
    _do_without_pandas()
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
    pq.write_table(pa.Table.from_pylist(columns, schema=build_schema(group)), sink, compression="snappy")
    return sink.getvalue()
