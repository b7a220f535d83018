"""Students: what they are, who teaches them, one run of `train` or `distill`, what is shown of it."""
