"""One kind of error for everything a user can type wrong, and the check that raises it.

Called by every module that takes a name or a number from outside.
"""


class InputError(ValueError):
    """A wrong value from the user: its message is one sentence naming the value and what is allowed."""

    def _render_traceback_(self):
        """Show only the sentence in Jupyter and papermill: the value is wrong, not the code."""
        return [f"{type(self).__name__}: {self}"]


def choose(kind, value, allowed):
    """Return `value` if it is one of `allowed`, else raise InputError naming both."""
    if value not in allowed:
        raise InputError(f"Unknown {kind} {value!r}: choose one of {', '.join(map(str, allowed))}.")
    return value
