"""Transactions: all or nothing, visible at once, and errors that say what happened."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from lamina.errors import StoreCorruptError, StoreNotFoundError, StoreVersionError
from lamina.metadata.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "lamina.db")
    made.create()
    yield made
    made.close()


def add(database: Database, key: str) -> None:
    with database.writing() as tx:
        tx.insert("INSERT INTO snapshots (key, kind, state, created, updated) VALUES (?, 'active', 'ready', 1, 1)", key)


def keys(database: Database) -> list[str]:
    with database.reading() as tx:
        return [row[0] for row in tx.rows("SELECT key FROM snapshots ORDER BY id")]


def test_an_exception_undoes_all_of_a_transaction(database: Database) -> None:
    def fail_half_way() -> None:
        with database.writing() as tx:
            tx.insert("INSERT INTO snapshots (key, kind, state, created, updated) VALUES ('a', 'active', 'ready', 1, 1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()

    assert keys(database) == []
    add(database, "b")
    assert keys(database) == ["b"]


def test_a_reader_sees_one_moment(database: Database) -> None:
    add(database, "a")

    with database.reading() as tx:
        before = tx.rows("SELECT key FROM snapshots")
        writer = threading.Thread(target=add, args=(database, "b"))
        writer.start()
        writer.join()
        after = tx.rows("SELECT key FROM snapshots")

    assert before == after
    assert keys(database) == ["a", "b"]


def test_what_one_process_wrote_another_reads(database: Database, tmp_path: Path) -> None:
    add(database, "a")

    other = Database(tmp_path / "lamina.db")

    assert keys(other) == ["a"]
    other.close()


def test_an_absent_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=str(tmp_path)):
        Database(tmp_path / "lamina.db").verify()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "lamina.db").write_bytes(b"nonsense" * 1000)

    with pytest.raises(StoreCorruptError, match=str(tmp_path)):
        Database(tmp_path / "lamina.db").verify()


def test_a_store_of_the_future_is_refused(database: Database, tmp_path: Path) -> None:
    with database.writing() as tx:
        tx.run("PRAGMA user_version = 99")

    with pytest.raises(StoreVersionError, match="99"):
        Database(tmp_path / "lamina.db").verify()


def test_a_closed_store_says_so(database: Database) -> None:
    database.close()
    database.close()

    with pytest.raises(ValueError, match="closed"), database.reading():
        pass


def test_a_forked_child_is_told_to_open_it_again(database: Database) -> None:
    child = os.fork()
    if child == 0:
        try:
            with database.reading():
                os._exit(1)
        except ValueError:
            os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_damage_is_reported_not_raised(database: Database, tmp_path: Path) -> None:
    for number in range(200):
        add(database, f"key-{number}" * 10)
    with database.writing() as tx:
        pages = tx.row("PRAGMA page_count")
    assert pages
    database.close()
    path = tmp_path / "lamina.db"
    content = bytearray(path.read_bytes())
    content[-3 * 4096 : -2 * 4096] = b"\xff" * 4096
    path.write_bytes(content)

    damaged = Database(path)

    assert damaged.damage() != []
    damaged.close()


def test_a_sound_database_has_no_damage(database: Database) -> None:
    add(database, "a")

    assert database.damage() == []
