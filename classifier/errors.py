"""The one exception that is meant for users."""


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the file or key, and what to do.

    Stages and the command line print it without a traceback and exit with status 1.
    """
