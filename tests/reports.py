"""Gates with a verdict of either kind, and a name that tries to be markup of every form."""

from qtrain_cli.settings import GateSettings

GATES = GateSettings(min_accuracy=0.97, max_drop=0.01, max_bytes=2000)

HOSTILE = "a|b`c`<script>[red]x[/red]*_#&~\\\n\x1b[31m\x00\u202e\ud800]]>\"'\u2028"
SPELLED = r"\n\x1b[31m\x00\u202e\ud800"
