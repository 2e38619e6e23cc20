//! The HTTP frontend: LRU cache, order gateway.
