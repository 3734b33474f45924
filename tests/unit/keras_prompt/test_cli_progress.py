"""The progress bar: on standard error, and gone when it is done."""

import contextlib
import io

from keras_prompt.cli.progress import progress_bar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _seen(stream, monkeypatch, **options):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with (
        contextlib.redirect_stderr(stream),
        progress_bar("rows", 4, **options) as advance,
    ):
        advance(1)
        advance(3)
    return stream.getvalue()


def test_a_terminal_sees_how_much_is_done_until_it_is(monkeypatch, capsys):
    seen = _seen(_Terminal(), monkeypatch)
    assert "4/4" in seen
    assert "rows" in seen
    assert seen.endswith("\x1b[1A\x1b[2K")  # a line up, line erased
    assert capsys.readouterr().out == ""


def test_a_bar_that_is_not_wanted_writes_nothing(monkeypatch):
    assert _seen(_Terminal(), monkeypatch, is_shown=False) == ""


def test_a_file_gets_no_bar(monkeypatch):
    assert _seen(io.StringIO(), monkeypatch) == ""
