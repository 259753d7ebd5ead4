"""Load an estimator: read the file, audit its names, then decode."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from skorch._load_options import LoadPlan, caller_options, torch_load_options
from skorch._pickling import modules_in, open_inside, warn_of_newer_version
from skorch._processes import is_placed_by_accelerator
from skorch._randomness import resume_when_trained
from skorch._safe._audit import refuse_untrusted, uses_in
from skorch._safe._decode import Decoder
from skorch._safe._estimators import decode_estimator, uses_in_estimator
from skorch._safe._file import Source, opened
from skorch._safe._names import Trusted
from skorch._safe._nodes import MAPPINGS, demand, kind_of
from skorch._safe._slots import check_net
from skorch._safe._tensors import Tensors
from skorch._safe._tree import Tree


def load(path: Any, trusted: Any = None, device: Any = None) -> Any:
    """Load what :func:`skorch.save` saved; nothing in the file runs.

    Names in the file are looked up in a fixed table of classes and functions and in ``trusted``.
    No constructor of a net, module, optimizer or callback is called.

    Parameters
    ----------
    path : path or binary file object
    trusted : list of (class, function or str), optional
        Classes and functions, or their full names, that the file may use as well, for instance
        the class of the module.
    device : str or torch.device, optional
        Where the tensors go, instead of where they were or where ``torch_load_kwargs`` of the
        net puts them. A device that this host lacks is replaced, with a
        :class:`~skorch.exceptions.DeviceWarning`.

    Returns
    -------
    NeuralNet or estimator

    Raises
    ------
    UntrustedTypesError
        If the file uses names that are not trusted; the text lists all of them.
    ValueError
        If the file is damaged or not of this kind.
    TypeError
        If ``trusted`` or ``device`` is something else, such as ``trusted=True``.
    RuntimeError
        If torch does not know the device.
    ImportError
        If the package safetensors is missing, or for estimators of scikit-learn skops.
    OSError
        If the file cannot be read.

    """
    names = Trusted(trusted)
    if not isinstance(device, str | torch.device | None):
        raise TypeError(f'device is to be a str or a torch.device, got {device!r}.')
    device = device if device is None else torch.device(device)
    with opened(path) as source:
        loading = _Loading(source, names, device)
        estimator = loading.result()
    loading.warn()
    return estimator


load.__module__ = 'skorch'


class _Loading:
    """One load.

    The order matters: the tree is checked as a whole, the tensors are read and all is compared
    with the checksum, then the names are audited; only after that something is imported or made.

    """

    def __init__(self, source: Source, names: Trusted, device: Any) -> None:
        self.tree = Tree(source)
        self.names = names
        self.source = source
        self.options = caller_options()
        if device is not None:
            self.options['map_location'] = device
        self.plans: dict[str, LoadPlan] = {}
        self.placed: set[str] = set()  # nets whose accelerator places them
        self.messages: list[str] = []

    def result(self) -> Any:
        kind, payload = kind_of(self.tree.root)
        demand(kind in ('ref', 'estimator'), f'its root is a {kind}, neither net nor estimator')
        uses, of_skops = uses_in(self.tree.nodes, self.names), []
        pieces = self.source.tensors()
        if kind == 'estimator':
            # Members of the archive are arrays of plain numbers; they name nothing.
            of_skops = uses_in_estimator(self._decoder(dict(pieces)), payload, self.names)
        refuse_untrusted(self.source.name, [*uses, *of_skops])
        parts = [self.tree.root] if kind == 'ref' else payload['parts'].values()
        self._plan([path for node in parts for path in self._nets_in(node)])
        demand(kind == 'estimator' or self.plans, 'its root is no net')
        dec = self._decoder(pieces)
        if kind == 'ref':
            estimator = dec.decode(self.tree.root)
        else:
            estimator = decode_estimator(dec, payload, [use.name for use in of_skops])
        dec.check_all_used(set(self.tree.tensors))
        return estimator

    def _nets_in(self, node: Any) -> list[str]:
        """Return the path of a net if a node refers to one."""
        path = node['ref'] if isinstance(node, dict) and 'ref' in node else None
        is_net = path in self.tree.objects and 'net' in self.tree.objects[path]
        return [path] if is_net and path is not None else []

    def _plan(self, paths: list[str]) -> None:
        """Decide where each net goes, from its device and options in the file."""
        without_tensors = self._decoder({})
        for path in paths:
            nodes = self._attributes_of(path)
            given = without_tensors.decode(nodes.get('torch_load_kwargs'))
            demand(
                given is None or isinstance(given, dict), f'torch_load_kwargs of {path} is no dict'
            )
            self.plans[path] = torch_load_options(
                _harmless(given),
                without_tensors.decode(nodes.get('device')),
                self.source.kind,
                caller=self.options,
            )

    def _attributes_of(self, path: str) -> dict[str, Any]:
        """Return the nodes of the attributes of a net, or nothing if its state is no mapping."""
        payload = self.tree.objects[path]['net']
        if 'attributes' in payload:
            return payload['attributes']
        node = payload.get('state')
        if isinstance(node, dict) and 'ref' in node:
            node = self.tree.objects.get(node['ref'])
        if not isinstance(node, dict) or not node.keys() <= set(MAPPINGS):
            return {}
        _, content = kind_of(node)
        pairs = content['items'] if isinstance(content, dict) else content
        return {key: value for key, value in pairs if isinstance(key, str)}

    def _decoder(self, pieces: dict[str, torch.Tensor]) -> Decoder:
        tensors = Tensors(self.tree.tensors, pieces, self._location_for)
        return Decoder(self.tree.objects, self.names, tensors, self._open_net)

    def _location_for(self, name: str) -> Any:
        """Return where a tensor goes: where the net goes to whose path its own begins with."""
        inside = [path for path in self.plans if name.startswith(f'{path}/')]
        plan = self.plans.get(inside[0] if inside else 'net')
        if plan is None:  # a part of an estimator that is in no net
            plan = torch_load_options(None, 'cpu', self.source.kind, caller=self.options)
        return plan.kwargs['map_location']

    def _open_net(self, path: str, net: Any, state: Any) -> None:
        if isinstance(state, dict):
            self._leave_out_options(state)
        if path not in self.plans:
            open_inside(net, state)
        else:
            if isinstance(state, dict) and is_placed_by_accelerator(state):
                self.placed.add(path)
            elif isinstance(state, dict) and 'device' in state:
                state['device'] = self.plans[path].device_after(modules_in(state))
            net.__setstate__(state)
        # A class may make attributes of any state, which nobody could check before.
        self._leave_out_options(vars(net))
        check_net(vars(net))
        if path in self.plans:
            _flatten_recurrent(modules_in(vars(net)))
            resume_when_trained(net)

    def _leave_out_options(self, attributes: dict[str, Any]) -> None:
        options = attributes.get('torch_load_kwargs')
        harmless = _harmless(options)
        if harmless != options:
            attributes['torch_load_kwargs'] = harmless
            self.messages.append(_LEFT_OUT)

    def warn(self) -> None:
        """Tell about devices that were replaced, and what else is not as it was."""
        warn_of_newer_version(self.tree.versions['skorch'])
        for text in self.messages:
            warnings.warn(text, UserWarning, stacklevel=3)
        for path, plan in self.plans.items():
            plan.warn(sets_device=path not in self.placed, stacklevel=4)


def _flatten_recurrent(modules: list[Any]) -> None:
    """Put the weights of recurrent modules on a GPU into one piece, as its library wants them."""
    for module in modules:
        for part in module.modules() if isinstance(module, torch.nn.Module) else ():
            if isinstance(part, torch.nn.RNNBase):
                part.flatten_parameters()


_LEFT_OUT = (
    "torch_load_kwargs of the net had 'weights_only' or 'pickle_module' in it, which were left "
    'out: a file cannot say that other files are to be trusted. Set them with set_params.'
)


def _harmless(options: Any) -> Any:
    """Return load options without those that let files run something."""
    if not isinstance(options, dict):
        return options
    return {
        key: value
        for key, value in options.items()
        if key != 'pickle_module' and (key != 'weights_only' or value is True or value is None)
    }
