"""Files of whole nets that hold no code: from an estimator to a file and back.

Saving (:mod:`._save`) goes like this::

    estimator ── _encode ──> tree of nodes, pieces of memory ── _file ──> safetensors file
                 _plain_values, _containers, _arrays,
                 _torch_values, _objects, _pieces, _estimators

and loading (:mod:`._load`) back, in this order, of which no step is left out or comes earlier::

    1. _file       open the file, check its header: size, number of tensors, our metadata
    2. _tree       parse the tree and check each node by the grammar in _nodes
    3. _file       read the tensors and compare all with the checksum
    4. _audit      collect all names, refuse those neither in _table nor trusted
    5. _decode     import what is named, make the objects, without calling constructors
    6. _slots      check that each place has what is for it

Up to step 4 nothing of what the file names is imported. A *node* is a JSON scalar or an object
with a single key, its kind; :mod:`._nodes` has all kinds. A *name* is a class or function by
module and qualified name; :mod:`._names` finds names and looks them up. The state of each
object is what it would give to pickle.

:mod:`._inspect` does steps 1, 2 and 4, refuses nothing, and shows what it has seen.

"""

from __future__ import annotations

from skorch._safe._inspect import inspect
from skorch._safe._load import load
from skorch._safe._save import convert, save

__all__ = ['convert', 'inspect', 'load', 'save']
