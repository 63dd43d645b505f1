"""How fast, how small and how good Mini-GPT is: ``python3 start.py bench``.

``step`` times a whole training step beside PyTorch, beside its matrix products alone and beside
the pure-Python form of lesson 2; ``workers`` times it with two cores; ``generation`` times writing;
``growth`` asks how a step's time and memory grow; ``footprint`` measures the import and the memory
of kernels; ``widgets`` times from a key to changed pixels in the browser; ``quality`` trains both
engines on the same batches of a text. ``ours``, ``torch_gpt``, ``scalar_gpt`` and ``floor`` hold
what is compared, ``turns`` the processes that take turns, ``report`` the tables and files.
"""
