"""Arithmetic that gives the same bits on every machine, for what is regenerated from a file. NumPy only.

IEEE 754 asks for one result of +, -, *, / and the square root of two float64. So whatever is made of these
in a fixed order, an operation at a time, is the same bits with every version of NumPy, every processor and
any number of threads. What is not asked for is left out: fused multiply-adds, sums in an order of a library's
own, the sines and logarithms of a C library, float32 on the way.

    functions    sine and cosine, exponential, logarithm, tangent, powers: fixed polynomials
    sums         products of matrices and totals, term by term in a fixed order
    streams      numbers that cost a file nothing but a seed: Philox words, uniform, normal, signs
    kernel       the same operations compiled, where a compiler was there

Left out here: circuits (`quantum.portable_circuit`) and what methods make of all this (`methods.portable`).
"""
