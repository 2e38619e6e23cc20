//! Ports for clusters that run side by side in several test processes.

use std::{fs::File, net::TcpListener, ops::Range, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, bail};

/// Ports of one cluster.
pub const PORTS_EACH: u16 = 30;
/// Below the range from which the system takes ports for outgoing connections.
const ALL_PORTS: Range<u16> = 20_000..30_000;

/// A block of ports that no other test uses as long as this lives.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _lock: File,
}

impl Ports {
    /// Takes a free block.
    ///
    /// # Errors
    /// If all are taken.
    pub fn take() -> Result<Self> {
        // One folder for each user: another one's locks cannot be opened.
        let user = std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
        let folder = std::env::temp_dir().join(format!("bazaar-test-ports-{user}"));
        std::fs::create_dir_all(&folder).context("the folder of port locks cannot be made")?;
        for first in ALL_PORTS.step_by(usize::from(PORTS_EACH)) {
            let lock = File::create(folder.join(first.to_string())).context("a port lock cannot be made")?;
            if lock.try_lock().is_ok() && (first..first + PORTS_EACH).all(is_free) {
                return Ok(Self { first, _lock: lock });
            }
        }
        bail!("all test ports are taken")
    }

    /// The block's `offset`-th port.
    pub fn get(&self, offset: u16) -> u16 {
        assert!(offset < PORTS_EACH, "a cluster has {PORTS_EACH} ports");
        self.first + offset
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
