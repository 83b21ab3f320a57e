"""The flow through a network of absolute weights: what data-free criteria on whole networks count.

Every weight is replaced by its absolute value, every factor of a normalisation by |γ|/σ; biases are
dropped. Activations pass the flow on as it is, as ReLU does above zero. What remains is linear, so
one pass forward and one backward give the derivative of its output.
"""

from .network import Flow

__all__ = ["Flow"]
