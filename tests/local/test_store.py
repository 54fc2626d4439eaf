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


def test_a_document_comes_back_as_it_was_put(store: Store) -> None:
    document = {"Name": "m", "Tags": {"a": "ü"}, "Times": [1.5, 2], "None": None}
    store.put("model", "eu-west-1", "m", document)
    assert store.get("model", "eu-west-1", "m") == document
    assert store.get("model", "us-east-1", "m") is None
    assert store.get("endpoint", "eu-west-1", "m") is None


def test_a_copy_is_the_reader_s_own(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"Tags": ["a"]})
    copy = store.get("model", "eu-west-1", "m")
    assert copy is not None
    copy["Tags"].append("b")
    assert store.get("model", "eu-west-1", "m") == {"Tags": ["a"]}


def test_a_list_is_in_order_of_creation_whatever_was_written_since(store: Store) -> None:
    for name in ("c", "a", "b"):
        store.put("model", "eu-west-1", name, {"Name": name})
    store.put("model", "us-east-1", "d", {"Name": "d"})
    store.put("model", "eu-west-1", "c", {"Name": "c", "changed": True})
    assert [d["Name"] for d in store.list("model", "eu-west-1")] == ["c", "a", "b"]
    assert [d["Name"] for d in store.list("model")] == ["c", "a", "b", "d"]


def test_update_answers_what_it_wrote_and_none_for_what_is_not_there(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {"n": 1})
    assert store.update("model", "eu-west-1", "m", lambda d: d.update(n=2)) == {"n": 2}
    assert store.update("model", "eu-west-1", "gone", lambda d: d.update(n=2)) is None


def test_delete_says_whether_there_was_one(store: Store) -> None:
    store.put("model", "eu-west-1", "m", {})
    assert store.delete("model", "eu-west-1", "m") is True
    assert store.delete("model", "eu-west-1", "m") is False


def test_an_exception_undoes_the_whole_transaction(store: Store) -> None:
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


def test_updates_of_many_threads_all_count(store: Store) -> None:
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


def test_what_is_written_outlives_the_store(tmp_path: Path) -> None:
    first = Store(tmp_path / "s.sqlite")
    first.put("model", "eu-west-1", "m", {"n": 1})
    numbers = [first.increment_counter("version"), first.increment_counter("version")]
    # No close: as after a kill.
    second = Store(tmp_path / "s.sqlite")
    assert second.get("model", "eu-west-1", "m") == {"n": 1}
    assert [*numbers, second.increment_counter("version")] == [1, 2, 3]
    first.close()
    second.close()


def test_a_number_that_json_has_not_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put("model", "eu-west-1", "m", {"n": float("nan")})


def test_public_hides_private_members() -> None:
    assert remove_private_members({"Name": "m", "_secret": 1}) == {"Name": "m"}
