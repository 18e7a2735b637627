"""The verbs of `python -m classifier`: one module a verb, each with two functions.

``add_arguments(parser)`` declares its options; ``run(args)`` does the work and returns the exit
status. A module is imported only when its verb is used, so that every verb starts fast.
"""
