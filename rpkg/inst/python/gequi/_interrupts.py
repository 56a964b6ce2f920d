"""Interrupts: which program handles Ctrl-C."""

from __future__ import annotations

import signal
import threading


def listens_to_interrupts() -> bool:
    """Whether Python itself does, here. Where another program does (R), its handler must stay.

    That is a function of C, which Python can replace but not put back: afterwards no Ctrl-C would reach R any more.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
