"""Real proxies, with the configurations that the documentation shows, before real servers that are restarted."""
