"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: the message says what is wrong, where, and the way out. Scripts print no stack trace."""
