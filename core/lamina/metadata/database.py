"""Transactions on the records of a store.

SQLite in WAL mode: readers never wait, writers wait for each other. Whether a power cut may undo a transaction is chosen by each
transaction: ``durable`` ones are on stable storage when their block ends (``PRAGMA synchronous = FULL``); others survive any
crash of a process at once, and a power cut from the next durable one on
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import apsw

from lamina.errors import StoreBusyError, StoreCorruptError, StoreNotFoundError, StoreVersionError
from lamina.metadata.schema import APPLICATION_ID, FORMAT, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What a column can hold.
Value = str | int | float | bytes | None
#: Any: which type a column has is fixed by the STRICT tables of the schema, out of the type checker's sight.
Row = tuple[Any, ...]

#: How long a writer waits for the other writers, milliseconds. Transactions here take well under one.
_PATIENCE: Final = 30_000

_SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA journal_size_limit = 4194304",
)


class Reader:
    """A consistent look at the records; valid inside its ``with`` block."""

    __slots__ = ("_connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *arguments: Value) -> list[Row]:
        """Return all rows of a query."""
        return self._connection.execute(sql, arguments).fetchall()

    def row(self, sql: str, *arguments: Value) -> Row | None:
        """Return the first row of a query, or None."""
        return self._connection.execute(sql, arguments).fetchone()


class Writer(Reader):
    """The only object that can change the records; what it did becomes visible, all at once, when its block ends."""

    __slots__ = ()

    def run(self, sql: str, *arguments: Value) -> int:
        """Run a statement and return how many rows it changed."""
        self._connection.execute(sql, arguments)
        return self._connection.changes()

    def insert(self, sql: str, *arguments: Value) -> int:
        """Run an INSERT and return the number of the new row."""
        self._connection.execute(sql, arguments)
        return self._connection.last_insert_rowid()


class Database:
    """The records of one store, for all threads of this process; each thread gets a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[apsw.Connection] = []
        self._owner = os.getpid()
        self._closed = False

    def create(self) -> None:
        """Make the tables where there are none. The caller keeps other openers away meanwhile.

        Raises :class:`StoreVersionError` for a store of the future and :class:`StoreCorruptError` for a file that is no store.
        """
        with self._translated():
            connection = self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            found = connection.pragma("user_version")
            if found == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT"
                )
        self.verify()

    def verify(self) -> None:
        """Raise unless the file is a store whose format this lamina reads."""
        with self._translated():
            connection = self._connection()
            if connection.pragma("application_id") != APPLICATION_ID:
                raise StoreCorruptError(self._path.parent, f"{self._path.name} is not the database of a store")
            found = connection.pragma("user_version")
        if found != FORMAT:
            raise StoreVersionError(self._path.parent, int(str(found)), FORMAT)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Yield a consistent look at the records. Blocks of one thread do not nest."""
        with self._translated():
            connection = self._connection()
            connection.execute("BEGIN")
        try:
            with self._translated():
                yield Reader(connection)
        finally:
            self._end(connection, "COMMIT")

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Writer]:
        """Yield the object that can write; an exception in the block undoes all of it. Blocks of one thread do not nest.

        Raises :class:`StoreBusyError` when other writers do not end in time.
        """
        with self._translated():
            connection = self._connection()
            if self._local.durable is not durable:
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._local.durable = durable
            connection.execute("BEGIN IMMEDIATE")
        try:
            with self._translated():
                yield Writer(connection)
        except BaseException:
            self._end(connection, "ROLLBACK")
            raise
        with self._translated():
            try:
                connection.execute("COMMIT")
            except BaseException:
                self._end(connection, "ROLLBACK")
                raise

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with its file, a line each; empty when it is sound."""
        try:
            connection = self._connection()
            lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            lines += [
                f"{row[0]}: row {row[1]} refers to nothing in {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")
            ]
        except apsw.Error as error:
            return [str(error)]
        return lines

    def close(self) -> None:
        """Close the connections of all threads. Closing twice is fine; using it afterwards is a ``ValueError``."""
        with self._lock:
            self._closed = True
            connections, self._connections = self._connections, []
        if os.getpid() == self._owner:
            for connection in connections:
                connection.close()

    def _connection(self) -> apsw.Connection:
        if self._closed:
            raise ValueError("this store is closed")
        if os.getpid() != self._owner:
            # SQLite connections must not cross fork(2): https://www.sqlite.org/howtocorrupt.html, section 2.6
            raise ValueError("this store was opened before a fork: open it again in the child process")
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        return connection or self._connect(apsw.SQLITE_OPEN_READWRITE)

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(os.fspath(self._path), flags)
        connection.set_busy_timeout(_PATIENCE)
        for setting in _SETTINGS:
            connection.execute(setting)
        self._local.connection = connection
        self._local.durable = None
        with self._lock:
            self._connections.append(connection)
        return connection

    @staticmethod
    def _end(connection: apsw.Connection, how: str) -> None:
        # SQLITE_FULL, IOERR and NOMEM may have rolled back by themselves: https://www.sqlite.org/lang_transaction.html
        if connection.in_transaction:
            connection.execute(how)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, or into the ``OSError`` that they stand for."""
        try:
            yield
        except apsw.CantOpenError as error:
            raise StoreNotFoundError(self._path.parent) from error
        except apsw.BusyError as error:
            raise StoreBusyError(self._path.parent, "the database", "another writer") from error
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreCorruptError(self._path.parent, str(error)) from error
        except apsw.FullError as error:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from error
        except apsw.ReadOnlyError as error:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self._path)) from error
        except apsw.IOError as error:
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} ({error})", str(self._path)) from error
