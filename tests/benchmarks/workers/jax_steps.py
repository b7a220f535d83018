"""What the two JAX rivals share: from a function of one circuit's angles to compiled steps of a batch."""

import jax
import jax.numpy as jnp
import numpy as np

#: XLA compiles a circuit written out gate by gate for minutes beyond about this many gates.
MOST_UNROLLED = 700


def step_of(case, state):
    """``state(angles (L, n, r)) -> (2**n,) amplitudes`` as a compiled step of all circuits."""
    theta, v = jnp.asarray(case.theta), jnp.asarray(case.v)

    def loss(angles):
        psi = jax.vmap(state)(angles) if case.circuits > 1 else state(angles[0])[None]
        p = (psi * psi.conj()).real
        return (v * p).sum(), p

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def step():
        (_, p), gradient = compiled(theta)
        return np.asarray(p), np.asarray(gradient)

    return step


def scanned(case, layer):
    """``layer(psi, angles (n, r)) -> psi`` as a state function: one compiled layer, `lax.scan` over the depth."""

    def state(angles):
        zero = jnp.zeros(2**case.qubits, jnp.complex64).at[0].set(1)
        return jax.lax.scan(lambda psi, one: (layer(psi, one), None), zero, angles)[0]

    return state


def steps(case, unrolled, layer):
    """Both modes; the one written out gate by gate only where it compiles in reasonable time."""
    found = {"jit, lax.scan over layers": step_of(case, scanned(case, layer))}
    if len(case.gates) <= MOST_UNROLLED:
        found["jit"] = step_of(case, unrolled)
    return found
