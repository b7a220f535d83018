"""All commands in one app: importing a module of verbs registers them."""

from qtrain_cli.cli import compare_verb, student_verbs, verbs

VERB_MODULES = (verbs, compare_verb, student_verbs)
app = verbs.app
