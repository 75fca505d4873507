"""The one exception that reaches a user: a single clear line, exit code 2, no traceback."""


class InputError(Exception):
    """Something the user gave is wrong. The message names the file, line or key, what was found and what was expected."""
