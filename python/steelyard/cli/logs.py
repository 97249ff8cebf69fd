"""What the Python side says while it runs, on standard error, in the shape of the engine's own lines."""

import json
import logging
import sys
from datetime import UTC, datetime

from steelyard.cli.output import printable, printable_json
from steelyard.config import Config

__all__ = ["set_up"]


LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}


def timestamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = LEVELS.get(record.levelname, record.levelname)
        text = f"{timestamp(record)} {level:>5} {record.getMessage()}"
        return printable(text + ("\n" + self.formatException(record.exc_info) if record.exc_info else ""))


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "timestamp": timestamp(record),
            "level": LEVELS.get(record.levelname, record.levelname),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return printable_json(json.dumps(entry, ensure_ascii=False))


def set_up(loaded: Config) -> None:
    """May be called again after a reload: the level and the format follow the configuration."""
    wanted = loaded.log.format
    text = wanted == "text" or (wanted == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    ours = logging.getLogger("steelyard")
    ours.handlers[:] = [handler]
    ours.setLevel(loaded.log.level.upper())
    ours.propagate = False
    # Of the libraries only what went wrong is of interest.
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
