"""`millrace prices refresh`: the Price List API's answers become a table that is merged over the built-in one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from click.testing import CliRunner, Result

from cli import prices
from cli.commands import prices as command
from cli.main import millrace
from cli.prices import Prices

REGION_FILTER = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"}]


def make_product(usage_type: str, *usd: str, unit: str = "Hrs", published: str = "2026-11-01T00:00:00Z") -> str:
    """Return a product as the API gives it, as JSON text."""
    dimensions = {
        f"rate-{place}": {"unit": unit, "pricePerUnit": {"USD": price}, "beginRange": "0", "endRange": "Inf"}
        for place, price in enumerate(usd)
    }
    return json.dumps({
        "product": {"productFamily": "ML Instance", "attributes": {"usagetype": usage_type, "regionCode": "eu-west-1"}},
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {"term": {"priceDimensions": dimensions}}},
        "version": "20261101000000",
        "publicationDate": published,
    })  # fmt: skip


PAGES = [
    [make_product("EU-Host:ml.m5.large", "0.1280000000"), make_product("EU-Train:ml.m5.large", "0.1290000000")],
    [
        make_product("EU-Processing:ml.p4d.24xlarge", "0.0000000000", "41.1"),
        # Neither of these is an hour of hosting, processing or training.
        make_product("EU-Notebk:ml.m5.large", "0.5"),
        make_product("EU-Host:ml.m5.large-Storage", "0.5", unit="GB-Mo"),
        make_product("EU-FeatureStore:WriteRequestUnits", "0.00000125", unit="WriteRequestUnits"),
        make_product("EU-Host:ml.g5.xlarge", "1.5", "1.6", published="2026-11-20T00:00:00Z"),
    ],
]


@pytest.fixture
def pricing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the stub of the API's client; requests that do not match botocore's model fail."""
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(command, "make_client", lambda *_args, **_more: client)
    monkeypatch.setattr(prices, "OVERLAY", tmp_path / "prices.toml")
    monkeypatch.delenv(prices.VARIABLE, raising=False)
    with Stubber(client) as stub:
        yield stub


def answer(pricing: Any, pages: list[list[str]]) -> None:
    """Let the API answer with these pages."""
    for place, page in enumerate(pages):
        asked = {"ServiceCode": "AmazonSageMaker", "Filters": REGION_FILTER}
        token = {"NextToken": f"page-{place + 1}"} if place + 1 < len(pages) else {}
        asked |= {"NextToken": f"page-{place}"} if place else {}
        pricing.add_response("get_products", {"PriceList": page, "FormatVersion": "aws_v1", **token}, asked)


def refresh(tmp_path: Path, *arguments: str) -> Result:
    output = ["--output", str(tmp_path / "prices.toml")]
    return CliRunner().invoke(millrace, ["prices", "refresh", "--region", "eu-west-1", *output, *arguments])


def test_all_pages_become_a_table_that_overrides_the_built_in_one(pricing: Any, tmp_path: Path) -> None:
    assert Prices.load().find_hourly_price("hosting", "ml.m5.large", "eu-west-1") is None
    answer(pricing, PAGES)
    result = refresh(tmp_path)
    assert (result.exit_code, result.exception) == (0, None)
    table = Prices.load()
    assert table.find_hourly_price("hosting", "ml.m5.large", "eu-west-1") == 0.128
    assert table.find_hourly_price("training", "ml.m5.large", "eu-west-1") == 0.129
    assert table.find_hourly_price("processing", "ml.p4d.24xlarge", "eu-west-1") == 41.1
    assert table.get_source("eu-west-1").startswith("AWS Price List API, published 2026-11-20, read ")
    # The built-in prices of other regions are kept.
    assert table.find_hourly_price("hosting", "ml.m5.large", "us-east-1") == 0.115
    written = tomllib.loads((tmp_path / "prices.toml").read_text())
    assert set(written["regions"]["eu-west-1"]) == {"date", "source", "hosting", "processing", "training"}
    assert set(written["regions"]["eu-west-1"]["hosting"]) == {"ml.m5.large"}
    pricing.assert_no_pending_responses()


def test_a_usage_type_with_several_prices_is_left_out_and_named(pricing: Any, tmp_path: Path) -> None:
    answer(pricing, PAGES)
    assert "left out, with several prices in eu-west-1: hosting ml.g5.xlarge" in refresh(tmp_path).output
    answer(pricing, PAGES)
    document = json.loads(refresh(tmp_path, "--json").stdout)
    assert document == {
        "file": str(tmp_path / "prices.toml"),
        "prices": {"eu-west-1": 3},
        "ambiguous": {"eu-west-1": ["hosting ml.g5.xlarge"]},
    }


def test_a_region_without_prices_writes_nothing(pricing: Any, tmp_path: Path) -> None:
    answer(pricing, [[make_product("EU-Notebk:ml.m5.large", "0.5")]])
    result = refresh(tmp_path)
    assert "region 'eu-west-1' has no prices of SageMaker; nothing was written" in str(result.exception)
    assert not (tmp_path / "prices.toml").exists()


def test_a_table_of_the_user_is_not_overwritten(pricing: Any, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('source = "our contract"\n')
    result = refresh(tmp_path)
    assert "exists and was not written by this command" in str(result.exception)
    assert (tmp_path / "prices.toml").read_text() == 'source = "our contract"\n'
    pricing.assert_no_pending_responses()


def test_a_refused_request_is_reported_and_changes_nothing(pricing: Any, tmp_path: Path) -> None:
    answer(pricing, PAGES)
    refresh(tmp_path)
    before = (tmp_path / "prices.toml").read_text()
    pricing.add_client_error("get_products", "AccessDeniedException", "User is not authorized: pricing:GetProducts")
    assert "pricing:GetProducts" in str(refresh(tmp_path).exception)
    assert (tmp_path / "prices.toml").read_text() == before


def test_the_regions_are_those_of_the_stacks_on_aws() -> None:
    assert command._find_regions() == ["eu-west-1"]


def test_the_own_table_of_a_user_overrides_that_of_the_checkout(pricing: Any, tmp_path: Path) -> None:
    answer(pricing, PAGES)
    refresh(tmp_path)
    (tmp_path / "mine.toml").write_text('[regions.eu-west-1.hosting]\n"ml.m5.large" = 0.1\n')
    table = Prices.load(tmp_path / "mine.toml")
    assert table.find_hourly_price("hosting", "ml.m5.large", "eu-west-1") == 0.1
    assert table.find_hourly_price("training", "ml.m5.large", "eu-west-1") == 0.129
