"""A real keystone as a child process, with the projects, users and roles of a small cloud.

``server`` starts it from a template that ``bootstrap`` creates, ``serve`` is the child process, ``api``
changes it as its administrator, and ``cloud`` has the projects and users that tests share.
"""
