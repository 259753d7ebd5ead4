"""A doctor for nets: what to import, and the rules behind its advice.

:meth:`SkorchDoctor.advice` looks at each component by these rules. *Weights* are parameters with
two dimensions or more; gradients are measured by the root mean square of their elements that
are not zero.

dead units
    40 % of a layer's units or more are zero for all of the last 100 to 1000 rows. If the
    activation function is no layer, the same goes for units whose weights have a gradient of
    zero in at least 10 and up to 100 of the last steps.
exploding gradients
    A gradient that is not finite; or the largest of a step grew to 100 times the median of the
    first five; or it is, in the median, 1000 times as large as the weights.
vanishing gradients
    The median of the gradient of some weights is below a thousandth of the largest median in
    the component.
updates too small, too large
    No update changed the weights by 0.00001 of their norm, or half of the updates by more than
    0.1. The usual ratio is about 0.001.

The usual ratio of updates and the share of dead units follow the course CS231n of Stanford
University (notes "Neural Networks Part 1" and "Part 3"), which warns of
40 % dead units. That
gradients of all layers should be of similar size is from Glorot and Bengio (2010), "Understanding
the difficulty of training deep feedforward neural networks", and that explosions are large
increases of the gradient from Pascanu, Mikolov and Bengio (2013), "On the difficulty of training
recurrent neural networks". The bounds themselves are set so wide that a net which trains well
gets no advice.

"""

from __future__ import annotations

from skorch._doctor import SkorchDoctor, add_activation_hooks, add_grad_hooks, named_modules
from skorch._doctor_advice import Advice

__all__ = ['Advice', 'SkorchDoctor', 'add_activation_hooks', 'add_grad_hooks', 'named_modules']

Advice.__module__ = __name__
