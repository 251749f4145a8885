"""Process: what a fork does to a process, and how a parent knows that its child still runs.

``fork_mark`` tells a forked child from its parent, ``inheritance`` releases what the child must not share with it, and
``heartbeat`` shows a supervisor that a child is not held. ``system_calls`` does what only some systems can.
"""
