"""Students: ordinary modules whose circuit runs on the project's own engine.

    reduction     inputs averaged down to what a circuit or a linear front holds
    fronts        a small classical network down to n features
    layout        encoding, ansatz and read-out; gradients, shots and noise: plain data
    circuit       one circuit a sample, angles shared by the batch: features -> <Z> or class probabilities
    convolutions  a convolutional front in compiled calls
    estimates     the same circuit differentiated by any estimator, with shots
    noise         the same circuit under depolarising noise, as density matrices
    networks      hybrid, classical control and qnn: `features(x)`, then `head(features)`

`build` makes any of them from a `Student`, with seeded parameters named as `Student.shapes` says.
"""

from qtrain_cli.training.students.networks import StudentModule, build, is_light

__all__ = ["StudentModule", "build", "is_light"]
