"""Counts what a measured process logs at WARNING or above, and what of it is about locks."""

import logging


class Complaints(logging.Handler):
    """Class-wide counters, so that whoever configured the logging need not be found."""

    total = 0
    locked = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += repr(record.exc_info[1])
        Complaints.total += 1
        Complaints.locked += "locked" in text
