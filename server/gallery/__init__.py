"""Enrolled speakers on disk: an SQLite file, many writers, one fingerprint per gallery (ADR 0010)."""
