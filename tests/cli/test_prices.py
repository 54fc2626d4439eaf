"""Tests of the price table: known and unknown prices, and the tables of a user that override it."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cli import prices
from cli.console.errors import CliError
from cli.prices import KINDS, Prices
from tests.cli.previewed import PREVIEWS, run_diff

ALARM, KEY = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:kms/key:Key"
DASHBOARD, CONFIG = "aws:cloudwatch/dashboard:Dashboard", "aws:sagemaker/endpointConfiguration:EndpointConfiguration"


@pytest.fixture(autouse=True)
def _unset_user_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prices, "OVERLAY", tmp_path / "none.toml")
    monkeypatch.delenv(prices.VARIABLE, raising=False)


def test_every_price_has_a_date_and_a_source() -> None:
    table = tomllib.loads(Path(prices.__file__).with_suffix(".toml").read_text())

    assert table["date"]
    assert table["source"]
    for region in table["regions"].values():
        assert region["date"] <= table["date"]
        assert len(region["source"]) > 20
        for kind in (*KINDS, "any"):
            assert all(0 < price < 100 for price in region.get(kind, {}).values())
    for block in table["monthly"].values():
        assert block["source"]


@pytest.mark.parametrize(
    ("kind", "instance", "region", "price"),
    [
        # Prices as in the sources.
        ("hosting", "ml.m5.large", "us-east-1", 0.115),
        ("hosting", "ml.m5.2xlarge", "us-east-1", 0.461),
        ("processing", "ml.t3.medium", "us-east-1", 0.05),
        # Quoted for another kind of instance hour.
        ("training", "ml.c5.2xlarge", "us-west-2", 0.408),
        # Unknown, never zero.
        ("hosting", "ml.p5.48xlarge", "us-east-1", None),
        ("hosting", "ml.m5.large", "eu-central-1", None),
        # Its only public source was one company's invoice.
        ("hosting", "ml.m5.xlarge", "eu-west-1", None),
        ("hosting", "ml.m5.large", "", None),
    ],
)
def test_hourly_prices(kind: str, instance: str, region: str, price: float | None) -> None:
    assert Prices.load().find_hourly_price(kind, instance, region) == price


def test_prices_quoted_for_another_kind_are_approximate() -> None:
    table = Prices.load()

    assert table.is_approximate("hosting", "ml.m5.large", "us-west-2")
    assert not table.is_approximate("hosting", "ml.m5.large", "us-east-1")
    assert not table.is_approximate("hosting", "ml.m5.large", "eu-central-1")


def test_an_unknown_kind_raises_value_error() -> None:
    with pytest.raises(ValueError, match="batch"):
        Prices.load().find_hourly_price("batch", "ml.m5.large", "eu-west-1")


def variant(**more: Any) -> dict[str, Any]:
    return {"productionVariants": [{"instanceType": "ml.m5.large", "initialInstanceCount": 2, **more}]}


@pytest.mark.parametrize(
    ("token", "inputs", "price"),
    [
        (KEY, {}, 1.0),
        (DASHBOARD, {}, 3.0),
        (ALARM, {}, 0.1),
        (ALARM, {"period": 300}, 0.1),
        (ALARM, {"period": 10}, 0.3),
        # An expression over two metrics costs as much as two alarms.
        (
            ALARM,
            {
                "metricQueries": [
                    {"metric": {"metricName": "a"}},
                    {"metric": {"metricName": "b"}},
                    {"expression": "a / b"},
                ]
            },
            0.2,
        ),
        (ALARM, {"metricQueries": [{"metric": {}}, {"expression": "ANOMALY_DETECTION_BAND(m1)"}], "period": 60}, 0.3),
        ("aws:iam/role:Role", {}, 0.0),
        ("aws:sqs/queue:Queue", {}, 0.0),
        ("aws:sagemaker/featureGroup:FeatureGroup", {}, 0.0),
        ("aws:sagemaker/featureGroup:FeatureGroup", {"throughputConfig": {"throughputMode": "Provisioned"}}, None),
        ("aws:ssm/parameter:Parameter", {"tier": "Advanced"}, None),
        ("aws:ec2/instance:Instance", {}, None),
        (CONFIG, variant(), 2 * 730 * 0.115),
        (CONFIG, variant(initialInstanceCount=None), None),
        (CONFIG, variant(instanceType="ml.unheard.of"), None),
        (CONFIG, variant(serverlessConfig={"memorySizeInMb": 2048}), 0.0),
        (CONFIG, variant(serverlessConfig={"provisionedConcurrency": 1}), None),
        (CONFIG, {}, 0.0),
    ],
)
def test_monthly_prices(token: str, inputs: dict[str, Any], price: float | None) -> None:
    found = Prices.load().find_monthly_price(token, inputs, "us-east-1")

    assert found is None if price is None else math.isclose(found or 0.0, price)


def write_table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_user_table_overrides_entry_by_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write_table(
        tmp_path / "mine.toml",
        """
        date = "2027-01-01"
        [regions.eu-west-1.hosting]
        "ml.m5.large" = 0.1
        [regions.eu-central-1]
        source = "our contract"
        [regions.eu-central-1.training]
        "ml.m5.large" = 0.14
        [monthly."aws:mq/broker:Broker"]
        price = 20
        [free]
        types = ["aws:ec2/vpc:Vpc"]
        """,
    )
    for found in (Prices.load(mine), _load_from_variable(mine, monkeypatch)):
        assert found.date == "2027-01-01"
        assert found.find_hourly_price("hosting", "ml.m5.large", "eu-west-1") == 0.1
        assert not found.is_approximate("hosting", "ml.m5.large", "eu-west-1")
        assert found.find_hourly_price("training", "ml.m5.large", "eu-central-1") == 0.14
        assert found.get_source("eu-central-1") == "our contract"
        assert found.find_monthly_price("aws:mq/broker:Broker", {}, "eu-west-1") == 20.0
        assert found.find_monthly_price("aws:ec2/vpc:Vpc", {}, "eu-west-1") == 0.0
        # Other entries are kept.
        assert found.find_hourly_price("hosting", "ml.m5.xlarge", "us-east-1") == 0.23
        assert found.find_monthly_price(KEY, {}, "eu-west-1") == 1.0


def _load_from_variable(path: Path, monkeypatch: pytest.MonkeyPatch) -> Prices:
    monkeypatch.setenv(prices.VARIABLE, str(path))
    return Prices.load()


BAD = {
    "regions = 3": "regions = 3 is not a table",
    'currency = "EUR"': "are in USD",
    "[regions.eu-west-1.hosting]\n'ml.m5.large' = -1": "regions.eu-west-1.hosting.ml.m5.large = -1",
    "[regions.eu-west-1.hosting]\n'ml.m5.large' = 'cheap'": "'cheap' is not a number",
    "[regions.eu-west-1.hosting]\n'ml.m5.large' = nan": "nan is not a number",
    "[regions.eu-west-1.renting]\n'ml.m5.large' = 1": "regions.eu-west-1.renting is unknown",
    "[monthly.'aws:kms/key:Key']\ncost = 1": "needs a number `price`",
    "discount = 0.2": "discount is unknown",
    "[free]\nkinds = []": "free needs a list `types`",
    "hours_a_month = 'all'": "has the wrong type",
    "[regions": "is not TOML",
}


@pytest.mark.parametrize("text", BAD)
def test_an_invalid_table_is_refused_naming_the_problem(tmp_path: Path, text: str) -> None:
    path = write_table(tmp_path / "mine.toml", text)

    with pytest.raises(CliError) as raised:
        Prices.load(path)

    assert str(path) in str(raised.value)
    assert BAD[text] in str(raised.value)


def test_missing_and_binary_tables_are_reported_by_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--preview", str(PREVIEWS / "same.json"))
    missing = str(tmp_path / "none.toml")

    assert run_diff(capsys, *given)[0] == 0
    code, _, err = run_diff(capsys, *given, "--prices", missing)
    monkeypatch.setenv(prices.VARIABLE, missing)
    of_variable = run_diff(capsys, *given)

    assert (code, of_variable[0]) == (1, 1)
    assert "does not exist" in err
    assert "MILLRACE_PRICES" in of_variable[2]
    (tmp_path / "none.toml").write_bytes(b"\xff")
    assert "not UTF-8" in run_diff(capsys, *given)[2]
