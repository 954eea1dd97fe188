"""Processes of their own for what is measured."""

import multiprocessing


def fresh_processes():
    """A context of `multiprocessing` whose processes are as new as if just started, but import the script once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__"])
    return context
