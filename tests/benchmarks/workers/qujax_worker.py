"""qujax, complex64: `jax.jit(jax.value_and_grad(...))` of its state function, a batch by `jax.vmap`.

Its angles are in units of pi. One mode writes the circuit out gate by gate, one repeats a compiled layer
(as its own `repeat_circuit` does).
"""

import jax.numpy as jnp
import qujax
from jax_steps import steps
from protocol import serve

MOST_UNROLLED = 500
NAMES = {"RY": "Ry", "RZ": "Rz", "CNOT": "CX"}


def function(case, gates):
    """``(angles (l, n, r), state tensor) -> state tensor`` for some of the gates."""
    n, kinds = case.theta.shape[2:]
    where = [[] if at is None else [(at[0] * n + at[1]) * kinds + at[2]] for _, _, at in gates]
    run = qujax.get_params_to_statetensor_func(
        [NAMES[one[0]] for one in gates], [one[1] for one in gates], where, n
    )
    return lambda angles, state: run(angles.reshape(-1) / jnp.pi, state)


def build(case):
    whole, one = function(case, case.gates), function(case, case.first_layer)
    shape = [2] * case.qubits

    def unrolled(angles):
        zero = jnp.zeros(2**case.qubits, jnp.complex64).at[0].set(1)
        return whole(angles, zero.reshape(shape)).reshape(-1)

    def layer(psi, angles):
        return one(angles, psi.reshape(shape)).reshape(-1)

    return steps(case, unrolled, layer, MOST_UNROLLED)


if __name__ == "__main__":
    serve(build, compiled=True)
