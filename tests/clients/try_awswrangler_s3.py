"""awswrangler: Parquet, CSV and JSON on S3."""

from __future__ import annotations

import awswrangler as wr
import boto3
import numpy as np
import pandas as pd
from steps import REGION, expect, step

BUCKET = "clients-wrangler"
boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
rows = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "d": pd.to_datetime(["2026-01-01"] * 3)})
large = pd.DataFrame(np.random.default_rng(7).random((400_000, 8)), columns=list("abcdefgh"))


def write_single_file() -> None:
    wr.s3.to_parquet(rows, f"s3://{BUCKET}/one.parquet")
    found = wr.s3.read_parquet(f"s3://{BUCKET}/one.parquet")
    expect(found["b"].tolist() == ["x", "y", "z"], found)


def write_partitioned_dataset() -> None:
    for mode in ("overwrite", "overwrite_partitions"):
        wr.s3.to_parquet(rows, f"s3://{BUCKET}/set/", dataset=True, mode=mode, partition_cols=["b"])
    found = wr.s3.read_parquet(f"s3://{BUCKET}/set/", dataset=True)
    expect(sorted(found["a"].tolist()) == [1, 2, 3], found)


def write_multipart_file() -> None:
    wr.s3.to_parquet(large, f"s3://{BUCKET}/large.parquet")
    found = wr.s3.read_parquet(f"s3://{BUCKET}/large.parquet", columns=["a"])
    expect(found["a"].equals(large["a"]), len(found))


def write_csv_and_json() -> None:
    wr.s3.to_csv(rows, f"s3://{BUCKET}/a.csv", index=False)
    wr.s3.to_json(rows, f"s3://{BUCKET}/a.json")
    expect(len(wr.s3.read_csv(f"s3://{BUCKET}/a.csv")) == 3, "rows")


def copy_and_delete_objects() -> None:
    expect(wr.s3.does_object_exist(f"s3://{BUCKET}/a.csv"), "absent")
    wr.s3.copy_objects([f"s3://{BUCKET}/a.csv"], f"s3://{BUCKET}/", f"s3://{BUCKET}/copy/")
    wr.s3.delete_objects(f"s3://{BUCKET}/copy/")
    expect(not wr.s3.list_objects(f"s3://{BUCKET}/copy/"), "left")


step("Parquet, one file", write_single_file)
step("Parquet, a partitioned data set", write_partitioned_dataset)
step("Parquet, 25 MB in parts", write_multipart_file)
step("CSV and JSON", write_csv_and_json)
step("list, copy and delete objects", copy_and_delete_objects)
table = {"dataset": True, "database": "d", "table": "t"}
step("Parquet with a Glue table", lambda: wr.s3.to_parquet(rows, f"s3://{BUCKET}/t/", **table))
