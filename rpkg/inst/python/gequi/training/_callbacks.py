"""Callbacks: functions of the user that `fit()` calls during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError, nearest
from ..jobs import says_stop

EVENTS = ("on_epoch_begin", "on_epoch_end", "on_batch_end")

Handler = Callable[[dict[str, Any]], Any]


class Callbacks:
    """The functions to call at each event, in the order of the callbacks."""

    def __init__(self, given: Any = None) -> None:
        """Collect the functions. `given` is None or one or several callbacks: objects with such methods, or dicts."""
        self.handlers: dict[str, list[Handler]] = {event: [] for event in EVENTS}
        for callback in [] if given is None else given if isinstance(given, list | tuple) else [given]:
            for event, handler in _handlers_of(callback).items():
                self.handlers[event].append(handler)

    def __bool__(self) -> bool:
        return any(self.handlers.values())

    def call(self, event: str, info: Callable[[], dict[str, Any]]) -> bool:
        """Call the functions of an event, each with a copy of the info. Return False if one of them returns False."""
        answers = [handler(info()) for handler in self.handlers[event]]
        return not any(says_stop(answer) for answer in answers)


def _handlers_of(callback: Any) -> dict[str, Handler]:
    if isinstance(callback, Mapping):
        for name in callback:
            if name not in EVENTS:
                raise InputError(
                    "`{argument}`: unknown event `{event}`; the events are {choices:list}.{hint}",
                    "callbacks", event=name, choices=EVENTS, hint=nearest(name, EVENTS),
                )  # fmt: skip
        found = {event: callback[event] for event in EVENTS if callback.get(event) is not None}
    else:
        found = {event: getattr(callback, event) for event in EVENTS if hasattr(callback, event)}
    if not found:
        raise InputError(
            "`{argument}` must have at least one of {choices:list}; got {value!r:.80}.",
            "callbacks", choices=EVENTS, value=callback,
        )  # fmt: skip
    for event, handler in found.items():
        if not callable(handler):
            raise InputError(
                "`{argument}`: `{event}` must be a function; got {value!r:.80}.",
                "callbacks",
                event=event,
                value=handler,
            )
    return found
