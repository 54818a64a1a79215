"""Speaker models: tiny ones for tests, checks and measurements of real ones."""
