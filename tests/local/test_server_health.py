"""Model servers that become unhealthy after their start: detected, taken out of rotation, replaced."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from local.services.sagemaker.hosting import fleet
from local.services.sagemaker.hosting.host import Hosting
from tests.local.hosted import REGION, HostedCloud, eventually, failures, hosted, moto_url
from tests.local.test_endpoints import find_servers

__all__ = ["hosted", "moto_url"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the health of servers so often that a test need not wait."""
    monkeypatch.setattr(fleet, "HEALTH_INTERVAL", 0.1)
    monkeypatch.setattr(fleet, "PING_TIMEOUT", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["ping 500", "stopped"])
def test_a_server_that_fails_its_pings_is_replaced_while_the_other_serves(hosted: HostedCloud, how: str) -> None:
    hosted.endpoint("sick", hosted.config("sick-1", count=2))
    before = find_servers(hosted, "sick")
    if how == "stopped":
        os.kill(before[0].pid, signal.SIGSTOP)
    else:
        hosted.ask("sick", how.encode())
    eventually(
        lambda: len(set(find_servers(hosted, "sick")) - set(before)) == 1 and len(find_servers(hosted, "sick")) == 2
    )
    (route,) = hosted.cloud.get_part(Hosting).get_endpoint(REGION, "sick").router.routes
    eventually(route.fleet.is_ready)
    assert {hosted.ask("sick") for _ in range(10)} == {b"sick-1"}
    assert len(set(find_servers(hosted, "sick")) & set(before)) == 1, "the healthy one stayed"


@pytest.mark.usefixtures("impatient")
def test_an_unhealthy_server_finishes_its_requests_before_it_is_replaced(hosted: HostedCloud) -> None:
    hosted.endpoint("drain", hosted.config("drain-1"))
    (server,) = find_servers(hosted, "drain")
    slow: list[bytes] = []
    asking = threading.Thread(target=lambda: slow.append(hosted.ask("drain", b"sleep 2")))
    asking.start()
    (route,) = hosted.cloud.get_part(Hosting).get_endpoint(REGION, "drain").router.routes
    eventually(lambda: route.fleet.variants["main"].servers[0].outstanding)
    hosted.ask("drain", b"ping 503")
    eventually(lambda: server not in find_servers(hosted, "drain"))
    asking.join()
    assert slow == [b"drain-1"]
    assert hosted.ask("drain") == b"drain-1"


def test_a_server_that_answers_requests_but_no_pings_is_healthy(
    hosted: HostedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "HEALTH_INTERVAL", 0.1)
    hosted.endpoint("busy", hosted.config("busy-1"))
    (server,) = find_servers(hosted, "busy")
    hosted.ask("busy", b"ping slow")
    monkeypatch.setattr(fleet, "PING_TIMEOUT", 0.3)
    with hosted.load("busy") as answers:
        eventually(lambda: answers["busy-1"] > 50)
        begun = time.monotonic()
        # Longer than a server that answers nothing is tolerated.
        eventually(lambda: time.monotonic() - begun > 2.5)
    assert failures(answers) == []
    assert server.is_running()
    eventually(lambda: server not in find_servers(hosted, "busy"))
