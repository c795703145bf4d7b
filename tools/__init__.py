"""What `make` runs: the environment, the execution of the notebooks, the site and its checks."""
