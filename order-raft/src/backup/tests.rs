//! A backup and a cluster that is restored from it, without processes.
