"""`keras-prompt` called within a test's process."""

from keras_prompt.cli import main as cli


def run(capsys, *arguments):
    """Calls it: the exit code, and what it printed to either stream."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as wrong:
        code = wrong.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err
