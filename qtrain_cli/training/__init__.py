"""Everything that improves numbers."""

#: Raised whenever the same settings train otherwise: what an older version began is then another run.
TRAINING = 4
