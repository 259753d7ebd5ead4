"""The pictures that the doctor draws with matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import numpy as np

from skorch._doctor_records import MatchFn, Records
from skorch._doctor_values import real_values
from skorch._optional import require

_LAYERS = ('layer', 'get_layer_names')
_PARAMS = ('parameter', 'get_param_names')


class _Plots:
    """Methods of the doctor that draw what was recorded."""

    # set by the doctor
    net: Any
    num_steps_: int
    activation_recs_: Records
    gradient_recs_: Records
    param_update_recs_: Records
    check_is_fitted: Callable[[], None]

    def plot_loss(
        self, ax: Any = None, figsize: tuple[float, float] | None = None, **kwargs: Any
    ) -> Any:
        """Draw training and validation loss by epoch.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None (default=None)
            Where to draw; None makes a new figure.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means (12, 6).
        **kwargs
            Passed to ``ax.plot``.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        NotInitializedError
            If there are no records.

        """
        self.check_is_fitted()
        ax = _one_axes(ax, figsize)
        history = self.net.history
        for name in ('train', 'valid'):
            rows = [row for row in history if f'{name}_loss' in row]
            if rows:
                losses = [row[f'{name}_loss'] for row in rows]
                ax.plot([row['epoch'] for row in rows], losses, **{'label': name, **kwargs})
        ax.set(title='Loss by epoch', xlabel='epoch', ylabel='loss')
        ax.legend()
        return ax

    def plot_activations(
        self,
        step: int = -1,
        match_fn: MatchFn = None,
        axes: Any = None,
        histtype: str = 'step',
        lw: float = 2,
        bins: Any = None,
        density: bool = True,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Draw histograms of the outputs of the layers in one step, for each component its own.

        Parameters
        ----------
        step : int (default=-1)
            Index of the step; negative ones count from the end.
        match_fn : callable or None (default=None)
            Takes the name of a layer and tells whether to draw it; None draws all.
        axes : Axes, array of Axes or None (default=None)
            Where to draw, one for each component; None makes a new figure.
        histtype : str (default='step')
            Passed to ``ax.hist``, like the following.
        lw : float (default=2)
            Width of the lines in points.
        bins : int, sequence or None (default=None)
            Number or edges of the bins; None means 49 between the smallest and largest value.
        density : bool (default=True)
            Whether to draw densities instead of counts.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means 12 by 6 for each component.
        **kwargs
            Passed to ``ax.hist``.

        Returns
        -------
        array of matplotlib.axes.Axes
            ``axes`` if it was given, else of shape (number of components, 1).

        Raises
        ------
        NotInitializedError
            If there are no records.
        IndexError
            If there is no such step.
        ValueError
            If nothing matches, the step was not kept, or ``axes`` are too few.

        """
        kwargs.update(histtype=histtype, lw=lw, bins=bins, density=density)
        return self._plot_distributions(
            ('Activations', *_LAYERS), step, match_fn, axes, figsize, kwargs
        )

    def plot_gradients(
        self,
        step: int = -1,
        match_fn: MatchFn = None,
        axes: Any = None,
        histtype: str = 'step',
        lw: float = 2,
        bins: Any = None,
        density: bool = True,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Draw histograms of the gradients in one step, for each component its own.

        Parameters
        ----------
        step : int (default=-1)
            Index of the step; negative ones count from the end.
        match_fn : callable or None (default=None)
            Takes the name of a parameter and tells whether to draw it; None draws all.
        axes : Axes, array of Axes or None (default=None)
            Where to draw, one for each component; None makes a new figure.
        histtype : str (default='step')
            Passed to ``ax.hist``, like the following.
        lw : float (default=2)
            Width of the lines in points.
        bins : int, sequence or None (default=None)
            Number or edges of the bins; None means 49 between the smallest and largest value.
        density : bool (default=True)
            Whether to draw densities instead of counts.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means 12 by 6 for each component.
        **kwargs
            Passed to ``ax.hist``.

        Returns
        -------
        array of matplotlib.axes.Axes
            ``axes`` if it was given, else of shape (number of components, 1).

        Raises
        ------
        NotInitializedError
            If there are no records.
        IndexError
            If there is no such step.
        ValueError
            If nothing matches, the step was not kept, or ``axes`` are too few.

        """
        kwargs.update(histtype=histtype, lw=lw, bins=bins, density=density)
        return self._plot_distributions(
            ('Gradients', *_PARAMS), step, match_fn, axes, figsize, kwargs
        )

    def _plot_distributions(
        self,
        what: tuple[str, str, str],
        step: int,
        match_fn: MatchFn,
        axes: Any,
        figsize: tuple[float, float] | None,
        kwargs: dict[str, Any],
    ) -> Any:
        self.check_is_fitted()
        title, kind, method = what
        recs = self.activation_recs_ if kind == 'layer' else self.gradient_recs_
        index = self._index_of(step)
        # a component of which nothing was recorded has no steps
        at_step = {name: steps[index] for name, steps in recs.items() if steps}
        if not any(at_step.values()):
            raise ValueError(
                f'There are no {title.lower()} of step {index}: match_fn of the doctor matches '
                'none, or keep_steps let the doctor forget them.'
            )
        chosen = _chosen(
            {name: [values] for name, values in at_step.items()}, match_fn, kind, method
        )
        axes = _many_axes(axes, len(chosen), figsize)
        for ax, (name, keys) in zip(np.ravel(axes), chosen.items(), strict=False):
            _draw_histograms(ax, {key: real_values(at_step[name][key]) for key in keys}, **kwargs)
            ax.set_title(f'{title} of {name}, step {index + 1}')
        return axes

    def _index_of(self, step: int) -> int:
        if not -self.num_steps_ <= step < self.num_steps_:
            raise IndexError(
                f'There is no step {step}: {self.num_steps_} steps were recorded, the first of '
                'which has the index 0.'
            )
        return step % self.num_steps_

    def plot_param_updates(
        self,
        match_fn: MatchFn = None,
        axes: Any = None,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Draw ``param_update_recs_`` by step, on a decimal logarithmic scale.

        Parameters
        ----------
        match_fn : callable or None (default=None)
            Takes the name of a parameter and tells whether to draw it; None draws all.
        axes : Axes, array of Axes or None (default=None)
            Where to draw, one for each component; None makes a new figure.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means 12 by 6 for each component.
        **kwargs
            Passed to ``ax.plot``.

        Returns
        -------
        array of matplotlib.axes.Axes
            ``axes`` if it was given, else of shape (number of components, 1).

        Raises
        ------
        NotInitializedError
            If there are no records.
        ValueError
            If nothing matches or ``axes`` are too few.

        """
        self.check_is_fitted()
        chosen = _chosen(self.param_update_recs_, match_fn, *_PARAMS)
        axes = _many_axes(axes, len(chosen), figsize)
        for ax, (name, keys) in zip(np.ravel(axes), chosen.items(), strict=False):
            for key in keys:
                steps = self.param_update_recs_[name]
                ratios = np.array([values.get(key, np.nan) for values in steps], dtype=float)
                with np.errstate(divide='ignore'):
                    logs = np.log10(ratios)
                logs[~np.isfinite(logs)] = np.nan
                ax.plot(np.arange(1, len(logs) + 1), logs, **{'label': key, **kwargs})
            ax.set(title=name, xlabel='step', ylabel='log10 of std of gradient / std of parameter')
            ax.legend()
        return axes

    def plot_activations_over_time(
        self,
        layer_name: str,
        module_name: str = 'module',
        ax: Any = None,
        lw: float = 2,
        bins: Any = None,
        figsize: tuple[float, float] | None = None,
        color: Any = 'k',
        **kwargs: Any,
    ) -> Any:
        """Draw the outputs of one layer in all steps, as histograms behind each other.

        The last step is in front, at the bottom.

        Parameters
        ----------
        layer_name : str
            One of :meth:`get_layer_names`.
        module_name : str (default='module')
            The component that the layer is in.
        ax : matplotlib.axes.Axes or None (default=None)
            Where to draw; None makes a new figure.
        lw : float (default=2)
            Width of the lines in points.
        bins : int, sequence or None (default=None)
            Number or edges of the bins; None means 99 between the smallest and largest value.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means (12, 6).
        color : color (default='k')
            Color of all histograms.
        **kwargs
            Passed to ``ax.fill_between``.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        NotInitializedError
            If there are no records.
        ValueError
            If there is no such layer.

        """
        self.check_is_fitted()
        arrays = _arrays_of(self.activation_recs_, module_name, layer_name, *_LAYERS)
        ax = _one_axes(ax, figsize)
        _draw_over_time(ax, arrays, bins, **{'lw': lw, 'color': color, **kwargs})
        ax.set(title=f'Activations of {layer_name} in {module_name}', ylabel='step')
        return ax

    def plot_gradient_over_time(
        self,
        param_name: str,
        module_name: str = 'module',
        ax: Any = None,
        lw: float = 2,
        bins: Any = None,
        figsize: tuple[float, float] | None = None,
        color: Any = 'k',
        **kwargs: Any,
    ) -> Any:
        """Draw the gradient of one parameter in all steps, as histograms behind each other.

        The last step is in front, at the bottom.

        Parameters
        ----------
        param_name : str
            One of :meth:`get_param_names`.
        module_name : str (default='module')
            The component that the parameter is in.
        ax : matplotlib.axes.Axes or None (default=None)
            Where to draw; None makes a new figure.
        lw : float (default=2)
            Width of the lines in points.
        bins : int, sequence or None (default=None)
            Number or edges of the bins; None means 99 between the smallest and largest value.
        figsize : tuple of two floats or None (default=None)
            Size of a new figure in inches; None means (12, 6).
        color : color (default='k')
            Color of all histograms.
        **kwargs
            Passed to ``ax.fill_between``.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        NotInitializedError
            If there are no records.
        ValueError
            If there is no such parameter.

        """
        self.check_is_fitted()
        arrays = _arrays_of(self.gradient_recs_, module_name, param_name, *_PARAMS)
        ax = _one_axes(ax, figsize)
        _draw_over_time(ax, arrays, bins, **{'lw': lw, 'color': color, **kwargs})
        ax.set(title=f'Gradients of {param_name} in {module_name}', ylabel='step')
        return ax


def _one_axes(ax: Any, figsize: tuple[float, float] | None) -> Any:
    if ax is not None:
        return ax
    plt = require('matplotlib.pyplot', 'Plotting with the doctor')
    return plt.subplots(figsize=figsize or (12, 6))[1]


def _many_axes(axes: Any, num: int, figsize: tuple[float, float] | None) -> Any:
    if axes is None:
        plt = require('matplotlib.pyplot', 'Plotting with the doctor')
        return plt.subplots(num, 1, squeeze=False, figsize=figsize or (12, 6 * num))[1]
    axes = np.asarray(axes)
    if axes.size < num:
        raise ValueError(f'{num} components are to be drawn, but axes has room for {axes.size}.')
    return axes


def _chosen(recs: Records, match_fn: MatchFn, kind: str, method: str) -> dict[str, list[str]]:
    """Return the matching names of each component that has any."""
    names = {
        module: [
            name
            for name in dict.fromkeys(name for step in steps for name in step)
            if match_fn is None or match_fn(name)
        ]
        for module, steps in recs.items()
    }
    chosen = {module: found for module, found in names.items() if found}
    if not chosen:
        raise ValueError(
            f'match_fn matches no {kind} that was recorded. {method}() of the doctor returns all '
            'names.'
        )
    return chosen


def _arrays_of(recs: Records, module: str, name: str, kind: str, method: str) -> list[np.ndarray]:
    arrays = [real_values(step[name]) for step in recs.get(module, ()) if name in step]
    if not arrays:
        raise ValueError(
            f'No {kind} {name!r} of {module!r} was recorded. {method}() of the doctor returns all '
            'names.'
        )
    return arrays


def _edges(arrays: Iterable[np.ndarray], bins: Any, num: int) -> Any:
    """Return edges of bins that all arrays have in common."""
    if bins is not None and np.ndim(bins):
        return np.asarray(bins)
    values = np.concatenate([np.empty(0), *arrays])
    return np.histogram_bin_edges(values, bins=num if bins is None else bins)


def _draw_histograms(ax: Any, values: dict[str, np.ndarray], bins: Any, **kwargs: Any) -> None:
    edges = _edges(values.values(), bins, num=49)
    inside = {
        key: array[(array >= edges[0]) & (array <= edges[-1])] for key, array in values.items()
    }
    for key, array in inside.items():
        # the density of nothing is nan
        density = kwargs['density'] and array.size > 0
        ax.hist(array, **{'label': key, **kwargs, 'bins': edges, 'density': density})
    ax.legend()


def _draw_over_time(ax: Any, arrays: list[np.ndarray], bins: Any, **kwargs: Any) -> None:
    edges = _edges(arrays, bins, num=99)
    counts = [np.histogram(array, bins=edges)[0] for array in arrays]
    centers = (edges[:-1] + edges[1:]) / 2
    num = len(counts)
    distance = max(int(c.max()) for c in counts) / 2 / num
    kwargs.setdefault('alpha', max(0.1, 1 / num))
    for height, values, order in zip(count(num - 1, -1), counts, count(1), strict=False):
        bottom = height * distance
        ax.fill_between(centers, bottom, bottom + values, **{'zorder': order, **kwargs})
    ax.tick_params(axis='y', labelleft=False)
