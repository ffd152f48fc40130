"""Streams whose work is done in a thread of their own, a few chunks away from the caller.

What these threads do (reading, hashing, packing) mostly happens outside the interpreter lock, so it really overlaps.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, Self

from lamina.diff.streams import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

#: Pieces that wait between two threads at most.
_DEPTH = 4


class _Handover:
    """A queue of a few pieces from one thread to one other. Either side may give up at any time, which wakes the other."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._changed = Condition()
        self._is_over = False

    def put(self, piece: bytes) -> bool:
        """Hand a piece over, waiting for room; False when nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._pieces) < _DEPTH or self._is_over)
            if self._is_over:
                return False
            self._pieces.append(piece)
            self._changed.notify()
            return True

    def get(self) -> bytes | None:
        """Take the next piece, waiting for one; None when the last one was taken and no other will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_over)
            if not self._pieces:
                return None
            self._changed.notify()
            return self._pieces.popleft()

    def end(self, *, forget: bool = False) -> None:
        """Say that no piece will come (or, with ``forget``, that none is wanted, not even those that wait)."""
        with self._changed:
            self._is_over = True
            if forget:
                self._pieces.clear()
            self._changed.notify()


class ReadAhead:
    """A readable of ``pieces``, which a thread makes ahead of need. A context manager: until it is closed, or read to its end,
    the thread lives on.

    An error of ``pieces`` is raised by the ``read`` that would have given the next one, and by all later ones.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._ready = _Handover()
        self._rest = memoryview(b"")
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = Thread(target=self._run, name="lamina-read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                if not self._ready.put(piece):
                    break
        except BaseException as error:  # noqa: BLE001 - not swallowed: whoever reads gets it
            self._error = error
        self._ready.end()

    def read(self, n: int, /) -> bytes:
        """Return the next piece, or up to ``n`` bytes of it; ``b""`` at the end."""
        if self._is_closed:
            raise ValueError("read of a closed stream")
        if not self._rest:
            piece = self._ready.get()
            if piece is None:
                if self._error is not None:
                    raise self._error
                return b""
            if len(piece) <= n:
                return piece
            self._rest = memoryview(piece)
        head = bytes(self._rest[:n])
        self._rest = self._rest[n:]
        return head

    def close(self) -> None:
        """End the thread, waiting for the step that it is at; what was not read is lost. The source below stays open."""
        self._is_closed = True
        self._ready.end(forget=True)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class WriteBehind:
    """A writable that a thread takes chunk by chunk to ``work``; ``finish`` comes last, in :meth:`close`. A context manager,
    which leaves the rest and ``finish`` out when its block fails.

    All chunks but the last are of one size, however the data came. An error of ``work`` is raised by a later ``write`` or by
    ``close``.
    """

    def __init__(self, work: Callable[[bytes], object], finish: Callable[[], object]) -> None:
        self._work = work
        self._finish = finish
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ready = _Handover()
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = Thread(target=self._run, name="lamina-write-behind", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (piece := self._ready.get()) is not None:
                self._work(piece)
        except BaseException as error:  # noqa: BLE001 - not swallowed: whoever writes gets it
            self._error = error
            self._ready.end(forget=True)

    def write(self, data: bytes | memoryview, /) -> None:
        """Take ``data``, waiting when the thread is too far behind."""
        if self._is_closed:
            raise ValueError("write to a closed stream")
        self._held.append(bytes(data))  # no copy of what is bytes already
        self._held_bytes += len(data)
        if self._held_bytes >= CHUNK:
            whole = b"".join(self._held)
            end = len(whole) - len(whole) % CHUNK
            for start in range(0, end, CHUNK):
                self._put(whole[start : start + CHUNK])
            self._held = [whole[end:]]
            self._held_bytes = len(whole) - end

    def _put(self, piece: bytes) -> None:
        if not self._ready.put(piece) and self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until everything is written, and finish. The sink below stays open."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._held_bytes:
            self._ready.put(b"".join(self._held))
        self._ready.end()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._is_closed = True
            self._ready.end(forget=True)
            self._thread.join()
