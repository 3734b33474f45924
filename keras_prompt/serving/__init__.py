"""Asks a running server: the client of what `export_server` wrote."""

from keras_prompt.serving.client import Client
from keras_prompt.serving.errors import (
    RequestRefusedError,
    RowsRefusedError,
    ServerTimeoutError,
    ServerUnavailableError,
)

__all__ = [
    "Client",
    "RequestRefusedError",
    "RowsRefusedError",
    "ServerTimeoutError",
    "ServerUnavailableError",
]
