"""What the process says while it runs, on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime

from steelyard.config import Config

__all__ = ["set_up"]


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        text = f"{at} {record.levelname.lower():<7} {record.getMessage()}"
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


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
