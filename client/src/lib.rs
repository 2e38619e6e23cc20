//! bazaar, the client.
