"""Times in UTC as reports, records and annotations write them: RFC 3339, in seconds."""

from __future__ import annotations

import time

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def timestamp(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as text."""
    return time.strftime(_FORMAT, time.gmtime(seconds))


def parse_timestamp(text: str) -> float:
    """Return the time of a text in seconds since the epoch. Raises ValueError for any other text."""
    from calendar import timegm  # takes longer to load than most runs need

    return float(timegm(time.strptime(text, _FORMAT)))


def minute(seconds: float) -> str:
    """Return a time, in seconds since the epoch, for a sentence."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
