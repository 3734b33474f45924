"""What can go wrong between a client and a server.

OSError
├── ServerUnavailableError   nobody answers; tried again until the time-out
└── ServerTimeoutError       the answer did not come in time
ValueError
├── RequestRefusedError      the server refuses the whole request
└── RowsRefusedError         some rows have a status other than "ok"
"""

from collections.abc import Mapping


class ServerUnavailableError(ConnectionError):
    """Nobody answers at the address, or the server is still loading."""


class ServerTimeoutError(TimeoutError):
    """The server did not answer in time."""


class RequestRefusedError(ValueError):
    """The server refuses the request as a whole: no such model, bad shapes."""


class RowsRefusedError(ValueError):
    """Some rows cannot be answered.

    Attributes:
        statuses: the server's words, by row.
    """

    def __init__(self, statuses: Mapping[int, str]) -> None:
        self.statuses = dict(statuses)
        row, words = next(iter(self.statuses.items()))
        more = len(self.statuses) - 1
        super().__init__(
            f"The server cannot answer row {row}: {words}"
            + (f" (and {more} rows more)." if more else ".")
        )

    def __reduce__(self) -> tuple[type, tuple[dict[int, str]]]:
        return type(self), (self.statuses,)  # not the message, as it would
