"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend. The message says what is wrong, where, and what to do; scripts print it without a stack trace."""
