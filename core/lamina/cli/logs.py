"""What plugins and the store log, as lines on stderr."""

from __future__ import annotations

import logging

from lamina.cli.render import printable


class LineFormatter(logging.Formatter):
    """One line for a record, with the error that it is about; the traceback only where it was asked for."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines with the traceback."""
        line = f"lamina: {record.levelname.lower()}: {printable(record.getMessage())}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f": {printable(str(record.exc_info[1]))}"
            if self._tracebacks:
                line += "\n" + self.formatException(record.exc_info)
        return line


def configure(*, debug: bool) -> None:
    """Send warnings to stderr, and with ``debug`` everything, with tracebacks."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(tracebacks=debug))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING)
