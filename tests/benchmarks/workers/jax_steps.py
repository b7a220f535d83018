"""What the two JAX rivals share: from a function of one circuit's angles to compiled steps of a batch."""

import jax
import jax.numpy as jnp
import numpy as np


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
    """``layer(psi, angles (n, r)) -> psi`` as a state function: `lax.scan` over a compiled layer."""

    def state(angles):
        zero = jnp.zeros(2**case.qubits, jnp.complex64).at[0].set(1)
        return jax.lax.scan(lambda psi, one: (layer(psi, one), None), zero, angles)[0]

    return state


def steps(case, unrolled, layer, most):
    """Both modes; the circuit of at most so many gates is also written out: compiling more takes minutes."""
    found = {"jit, lax.scan over layers": step_of(case, scanned(case, layer))}
    if len(case.gates) <= most:
        found["jit"] = step_of(case, unrolled)
    return found
