"""The fuzzers are run by hand; pytest need not look into them."""

collect_ignore_glob = ["*.py"]
