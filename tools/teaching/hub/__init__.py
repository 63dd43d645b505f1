"""A JupyterHub for one class on one machine: ``start.py hub``.

``settings`` reads the teacher's file, ``accounts`` gives each student of the class list a login, a
first password and (as root) a system user, ``spawner`` starts a student's server as that user and
within limits, ``limits`` has the system keep them, ``jupyterhub_config`` is what JupyterHub reads,
``client`` is a student who is a program. A student's server runs ``tools.launcher.served`` first.
"""
