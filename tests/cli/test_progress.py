import io

from mulligan.cli.progress import Progress


class Terminal(io.StringIO):
    """Text that is shown to somebody."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_each_change_is_a_line() -> None:
    text = io.StringIO()
    with Progress(err=text) as progress:
        progress.show("node-1", "inspecting", 0, 3)
        progress.show("node-1", "inspecting", 1, 3)
        progress.show("node-1", "manageable", 3, 3)
    assert text.getvalue() == "node-1: inspecting\nnode-1: manageable\n"


def test_a_terminal_shows_a_bar_for_each() -> None:
    text = Terminal()
    with Progress(err=text) as progress:
        progress.show("claims", "folding", 50, 100)
        progress.show("machines", "unknown length")
    assert "claims" in text.getvalue()
    assert "machines" in text.getvalue()


def test_quiet_is_quiet() -> None:
    text = Terminal()
    with Progress(quiet=True, err=text) as progress:
        progress.show("claims", "folding", 50, 100)
    assert text.getvalue() == ""


def test_nothing_is_drawn_over_a_question() -> None:
    screen = Terminal()
    with Progress(err=screen) as progress:
        progress.show("verify", "1/2", 1, 2)
        with progress.away():
            asked = screen.tell()
            screen.write("restore? ")
            progress.show("verify", "2/2", 2, 2)
            assert screen.getvalue()[asked:] == "restore? "
        progress.show("write", "1/2", 1, 2)
    assert "write" in screen.getvalue()[asked:]
