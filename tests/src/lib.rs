//! Stories told by real processes.
