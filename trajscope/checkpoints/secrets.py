"""What libraries write into logs while an address is read, without the secrets in it."""

import logging
from typing import Final

from trajscope.errors import redacted

_CLIENTS: Final = (
    "fsspec",
    "fsspec.http",
    "huggingface_hub.utils._http",
    "huggingface_hub.utils._pagination",
    "httpx",
    "httpx2",
    *(
        f"{core}.{part}"
        for core in ("httpcore", "httpcore2")
        for part in ("connection", "http11", "http2", "proxy")
    ),
    "s3fs",
    "urllib3.connectionpool",
)
"""Loggers that are told addresses and headers."""


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes, redacted."""
        record.msg, record.args = redacted(record.getMessage()), ()
        return True


_REDACTING: Final = _Redacting()


def keep_out_of_logs() -> None:
    """From now on no password, token or signature gets into the logs of network libraries."""
    for name in _CLIENTS:
        logging.getLogger(name).addFilter(_REDACTING)  # once, however often it is called
