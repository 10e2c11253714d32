"""Tests of the package against the real server."""
