"""The text by which a net shows itself."""

from __future__ import annotations

from typing import Any


def describe(net: Any) -> str:
    """Return the representation of a net: its class, whether it is initialized, its module."""
    if net.initialized_:
        # a subclass may have other modules
        state = 'initialized'
        shown = {name: value for name, value in vars(net).items() if name == 'module_'}
    else:
        own = {k: v for k, v in sorted(vars(net).items()) if k.startswith('module__')}
        state, shown = 'uninitialized', {'module': net.module, **own}
    lines = [f'{type(net)}[{state}](']
    for name, value in shown.items():
        lines.append('  ' + f'{name}={value},'.replace('\n', '\n  '))
    return '\n'.join([*lines, ')'])
