"""How fast cnnviz is beside other libraries, and what its cost model is fitted to.

``python -m tests.benchmarks`` from the repository's root; pytest collects nothing here.
"""
