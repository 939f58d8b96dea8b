"""Waiting for something to become true, with a limit and a description: never a sleep of a guessed length."""

import time


class Timeout(AssertionError):
    """The condition did not become true in time."""


def wait_for(what, condition, seconds=60, interval=0.05):
    """Calls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Timeout(f"waited {seconds} s for: {what}")
        time.sleep(interval)
