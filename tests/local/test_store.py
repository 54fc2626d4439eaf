"""SageMaker's state in SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.core.store import Store, remove_private_members


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "sagemaker.sqlite")
    yield store
    store.close()


def test_a_document_is_returned_as_it_was_stored(store: Store) -> None:
    document = {"Name": "m", "Tags": {"a": "ü"}, "Times": [1.5, 2], "None": None}
    store.put("model", "eu-west-1", "m", document)
    assert store.get("model", "eu-west-1", "m") == document
    assert store.get("model", "us-east-1", "m") is None
    assert store.get("endpoint", "eu-west-1", "m") is None


def test_changing_a_returned_document_does_not_change_the_store(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"Tags": ["a"]})
    copy = store.get("model", "eu-west-1", "m")
    assert copy is not None
    copy["Tags"].append("b")
    assert store.get("model", "eu-west-1", "m") == {"Tags": ["a"]}


def test_list_keeps_the_order_of_creation_after_updates(store: Store) -> None:
    for name in ("c", "a", "b"):
        store.put("model", "eu-west-1", name, {"Name": name})
    store.put("model", "us-east-1", "d", {"Name": "d"})
    store.put("model", "eu-west-1", "c", {"Name": "c", "changed": True})
    assert [d["Name"] for d in store.list("model", "eu-west-1")] == ["c", "a", "b"]
    assert [d["Name"] for d in store.list("model")] == ["c", "a", "b", "d"]


def test_update_returns_the_new_document_or_none_if_missing(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"n": 1})
    assert store.update("model", "eu-west-1", "m", lambda d: d.update(n=2)) == {"n": 2}
    assert store.update("model", "eu-west-1", "gone", lambda d: d.update(n=2)) is None


def test_delete_returns_whether_the_document_existed(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {})
    assert store.delete("model", "eu-west-1", "m") is True
    assert store.delete("model", "eu-west-1", "m") is False


def test_an_exception_rolls_back_the_whole_transaction(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"n": 1})

    def half() -> None:
        with store.transaction():
            store.put("model", "eu-west-1", "m", {"n": 2})
            with store.transaction():
                store.put("model", "eu-west-1", "other", {})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()
    assert store.get("model", "eu-west-1", "m") == {"n": 1}
    assert store.get("model", "eu-west-1", "other") is None
    store.put("model", "eu-west-1", "m", {"n": 3})
    assert store.get("model", "eu-west-1", "m") == {"n": 3}


def test_concurrent_updates_are_not_lost(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"n": 0})

    def add() -> None:
        for _ in range(25):
            store.update("model", "eu-west-1", "m", lambda d: d.update(n=d["n"] + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("model", "eu-west-1", "m") == {"n": 100}


def test_written_data_survive_without_closing_the_store(tmp_path: Path) -> None:
    first = Store(tmp_path / "s.sqlite")
    first.put("model", "eu-west-1", "m", {"n": 1})
    numbers = [first.increment_counter("version"), first.increment_counter("version")]
    # Not closed, as after a kill.
    second = Store(tmp_path / "s.sqlite")
    assert second.get("model", "eu-west-1", "m") == {"n": 1}
    assert [*numbers, second.increment_counter("version")] == [1, 2, 3]
    first.close()
    second.close()


def test_a_number_that_json_cannot_represent_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put("model", "eu-west-1", "m", {"n": float("nan")})


def test_private_members_are_removed() -> None:
    assert remove_private_members({"Name": "m", "_secret": 1}) == {"Name": "m"}
