"""Where messages go: through the logger ``skorch`` to where ``print`` writes.

Its level silences them, further handlers get them as well, and a program that lets the logger
propagate gets them from the handlers of the root logger instead.

"""

from __future__ import annotations

import logging
import os
import sys

LOGGER = logging.getLogger('skorch')
_NAME = 'skorch.console'  # tells the handler, also of a module that was imported a second time


class ConsoleHandler(logging.Handler):
    """Print messages as they are, unless the root logger gets them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print to what is the standard output now; errors are raised, as print does."""
        if not LOGGER.propagate:
            print(self.format(record))


def set_up() -> None:
    """Let messages go to the standard output, where the program has not said otherwise before."""
    if any(handler.name == _NAME for handler in LOGGER.handlers):
        return
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if not LOGGER.handlers:
        # handlers of the root logger are for the program's own messages, and would repeat these
        LOGGER.propagate = False
    handler = ConsoleHandler()
    handler.name = _NAME
    LOGGER.addHandler(handler)


def say(text: str) -> None:
    """Log a message for the user.

    Parameters
    ----------
    text : str

    """
    # logging.config disables each logger that a configuration does not name, and takes the
    # handlers from one that it names without any; neither is meant to silence anybody
    is_cut_off = LOGGER.disabled or not LOGGER.hasHandlers()
    if is_cut_off and LOGGER.level <= logging.INFO:
        print(text)
    else:
        LOGGER.info(text)


def terminal_width() -> int | None:
    """Return how many columns the terminal has to which messages are printed, None without one."""
    if sys.stdout is None or LOGGER.propagate or not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


set_up()
