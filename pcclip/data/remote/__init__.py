"""Shards at URLs (object storage, HTTP): listed, fetched when they are needed, kept in a bounded cache."""
