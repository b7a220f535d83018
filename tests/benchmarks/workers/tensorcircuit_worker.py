"""tensorcircuit-ng on its JAX backend, complex64: compiled value and gradient, a batch by `jax.vmap`.

One mode builds one circuit of all layers, one scans over layers with `Circuit(n, inputs=state)`, which is
its documented way to keep compile time down.
"""

import tensorcircuit as tc
from jax_steps import steps
from protocol import serve

MOST_UNROLLED = 100

tc.set_backend("jax")
tc.set_dtype("complex64")


def apply(run, gates, angles):
    """The gates on a circuit, angles (l, n, r)."""
    for name, on, at in gates:
        getattr(run, name.lower())(*on, **({} if at is None else {"theta": angles[at]}))
    return run.state()


def build(case):
    def unrolled(angles):
        return apply(tc.Circuit(case.qubits), case.gates, angles)

    def layer(psi, angles):
        return apply(tc.Circuit(case.qubits, inputs=psi), case.first_layer, angles[None])

    return steps(case, unrolled, layer, MOST_UNROLLED)


if __name__ == "__main__":
    serve(build, compiled=True)
