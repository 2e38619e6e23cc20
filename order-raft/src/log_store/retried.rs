//! A sync that is tried again when it failed, which no log may do: it is built for the checks that must notice.
//!
//! RocksDB refuses everything after a failed sync, so this one goes past it.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
    time::Duration,
};

use super::database::Database;

const PAUSE: Duration = Duration::from_millis(5);

/// Syncs the files of the write-ahead log, again and again until it succeeds.
pub(super) fn sync(database: &Database) -> Result<(), String> {
    database.write_out()?;
    while sync_files(database.path()).is_err() {
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            match File::open(path) {
                // One that is no longer needed goes at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync_data()?,
            }
        }
    }
    Ok(())
}
