"""Models by name: fetched once by pinned checksum, kept in the user's cache, used offline afterwards.

`store.ensure("campplus")` returns a model folder. What there is to fetch stands in `registry.toml`.
"""
