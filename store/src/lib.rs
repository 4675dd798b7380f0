//! Durable memory: tables, queries, group commit, and the cache.
