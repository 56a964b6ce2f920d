"""The handler of Ctrl-C."""

from __future__ import annotations

import signal
import threading


def listens_to_interrupts() -> bool:
    """Return whether Python handles Ctrl-C in this process. The handler of another program, such as R, must be kept.

    Such a handler is a C function, which Python can replace but not restore. R would receive no Ctrl-C afterwards.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
