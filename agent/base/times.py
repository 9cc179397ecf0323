"""Times in UTC as reports, records and annotations write them: RFC 3339, in seconds."""

from __future__ import annotations

import re
import time

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def timestamp(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as text."""
    return time.strftime(_FORMAT, time.gmtime(seconds))


def parse_timestamp(text: str) -> float:
    """Return the time of a text in seconds since the epoch. Raises ValueError for any other text."""
    from calendar import timegm  # takes longer to load than most runs need

    return float(timegm(time.strptime(text, _FORMAT)))


def seconds_of(duration: str) -> int:
    """Return the seconds of a text such as 90m, 26h or 3d. Raises ValueError for any other text."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", duration, re.ASCII)
    if not found:
        raise ValueError(duration)
    return int(found[1]) * _UNITS[found[2]]


def minute(seconds: float) -> str:
    """Return a time, in seconds since the epoch, for a sentence."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
