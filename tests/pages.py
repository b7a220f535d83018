"""Pages for tests: histories and dossiers by hand, and what a reader of HTML finds in a page."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from qtrain_cli.commands.report import ReportOutcome
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.report.page.artifact import artifact_page
from qtrain_cli.report.page.render import page_html
from qtrain_cli.results.dossier import ClassFigures, Dossier, Examination, TensorFacts
from qtrain_cli.results.history import EpochLine

VOID = {"meta", "link", "br", "img", "input", "hr"}
CIRCUIT = CircuitSpec("real-amplitudes", "cnot-ring", 5, 48)


def epochs(count=20, first_rounded=16, best=18, run="0f" * 8):
    """A training that learns, is rounded late and is best shortly after."""
    return tuple(
        EpochLine(
            run, "", number, count, 2.0 / number, 0.9 - 0.5 / number, "accuracy", 0.01 * number / count,
            number >= first_rounded, number <= best, 1.5 * number,
        )
        for number in range(1, count + 1)
    )  # fmt: skip


def dossier(name="net.qtrain", **changes):
    """All that is known of a small artifact without torch."""
    tensors = (
        TensorFacts("fc.weight", (10, 64), "F32", "generated", 640, 0.0722),
        TensorFacts("fc.bias", (10,), "F32", "kept", 10),
    )
    given = {
        "int8_bytes": 7000,
        "tensors": tensors,
        "circuit": CIRCUIT,
        "history": epochs(),
        "history_at": "h",
    }
    return Dossier(name, **given | changes)


def html_of(record, gates=(), **changes):
    """The page of an artifact's record, with what `dossier` knows beside it."""
    return page_html(artifact_page(ReportOutcome(record, tuple(gates), dossier(**changes))))


def examination(**changes):
    """Test rows of three classes that were looked at again."""
    given = {
        "source": "digits.npz", "count": 30, "figure": 0.9, "same_data": True,
        "classes": (
            ClassFigures("cat", 10, 9, 10), ClassFigures("dog", 12, 12, 13), ClassFigures("owl", 8, 7, 7),
        ),
        "confusions": ((9, 1, 0), (0, 12, 0), (1, 0, 7)),
    }  # fmt: skip
    return Examination(**given | changes)


class Found(HTMLParser):
    """What a page has: elements in order, texts, and whether all that is opened is closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read_page(data):
    """A page's elements, once it is whole, loads nothing and lets nothing but its own style and script in."""
    html = data.decode()
    found = Found(html)
    assert found.open == [], "all that is opened is closed"
    assert not found.of("link") and not found.of("img") and not found.of("iframe")
    assert [given for given in found.of("script") if given] == [] and len(found.of("script")) == 1
    assert not [
        name for _, given in found.elements for name in given if name.startswith("on") or name == "style"
    ]
    assert not re.search(r"url\(|@import|https?:", html), "it loads something"
    (policy,) = [one["content"] for one in found.of("meta") if "http-equiv" in one]
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    ids = [given["id"] for _, given in found.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert {given["href"] for given in found.of("a")} <= {f"#{name}" for name in ids}
    return found


def gradients(**changes):
    """The document of `compare-gradients`: two estimators, of which one has no seconds, and plateaus."""

    def row(gradient, shots, mean, losses, evaluations, seconds=2.0):
        return {
            "gradient": gradient, "shots": shots, "seeds": 2, "test_accuracy": mean, "spread": 0.01,
            "final_loss": losses[-1], "epochs": len(losses), "evaluations": evaluations,
            "total_shots": shots * evaluations, "seconds": seconds, "losses": losses,
            "loss_spreads": [0.1] * len(losses),
        }  # fmt: skip

    rows = [row("adjoint", 0, 0.9, [2.0, 1.0], 100), row("spsa", 100, 0.8, [2.2, 1.5], 300, None)]
    plateaus = [{"qubits": n, "layers": layers, "variance": 2.0**-n} for layers in (1, 4) for n in (2, 4)]
    return {"student": "hybrid:qubits=3,reps=1", "rows": rows, "plateaus": plateaus, **changes}
