"""Any mapping on the terminal."""

from qtrain_cli.report.terminal import key_values_terminal


def test_key_values(shown):
    values = {
        "qtrain": "0.1.0",
        "torch": {"version": "2.13", "threads": 2},
        "cuda": None,
        "trusted": True,
        "seconds": 0.0123456,
        "shape": [1, 28, 2800],
        "empty": [],
        "tensors": [{"name": "[b]a", "shape": [3, 4]}, {"name": "b", "shape": []}],
    }
    assert shown(key_values_terminal("Environment", values)) == (
        "Environment\n"
        "  qtrain     0.1.0\n"
        "  torch\n"
        "    version  2.13\n"
        "    threads  2\n"
        "  cuda       -\n"
        "  trusted    yes\n"
        "  seconds    0.01235\n"
        "  shape      1, 28, 2,800\n"
        "  empty      -\n"
        "tensors\n"
        "name  shape\n"
        "[b]a  3, 4\n"
        "b     -\n"
    )
