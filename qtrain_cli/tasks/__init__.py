"""How outputs are worth something: loss, score, words."""
