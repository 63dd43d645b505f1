"""The lessons as a web site: ``python3 start.py site`` (``__main__`` has the options).

``pages`` turns the stored notebooks into pages for Sphinx (nothing is executed), ``live`` gives the
pages' widgets what a kernel would, ``predictions`` what checks a guess, ``finish`` goes over the HTML
that Sphinx wrote, ``lite`` adds a JupyterLite in which the lessons run. ``static/`` holds the scripts:
``site.js`` and what it imports become one file; ``kernels.js`` is for a widget what the kernel is in a
notebook. ``conf.py`` is Sphinx's configuration, ``docs/site/`` the text of the site's own pages.
"""
