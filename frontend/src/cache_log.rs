//! The cache log: after each change of the cache's content, one line with the names from the most to the least
//! recently used, separated by spaces.

use std::path::Path;

use anyhow::{Context, Result};
use bazaar_domain::StockName;
use tokio::{fs::File, io::AsyncWriteExt, sync::mpsc};

/// Most lines that wait for the disk. Past that lines are dropped and counted: a slow disk must not slow lookups.
const WAITING_LINES_MAX: usize = 1_024;

/// Takes lines without waiting. The order of the calls is the order of the lines.
#[derive(Debug, Clone)]
pub(crate) struct CacheLog {
    lines: mpsc::Sender<Vec<StockName>>,
}

impl CacheLog {
    /// Opens the file for appending, and starts the task that writes to it.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .await
            .with_context(|| format!("the cache log {} cannot be opened", path.display()))?;
        let (lines, waiting) = mpsc::channel(WAITING_LINES_MAX);
        tokio::spawn(write_lines(file, waiting));
        Ok(Self { lines })
    }

    /// Hands a line to the writer.
    pub(crate) fn append(&self, names: Vec<StockName>) {
        if self.lines.try_send(names).is_err() {
            crate::meters::CACHE_LOG_DROPPED.counter().increment(1);
        }
    }
}

async fn write_lines(mut file: File, mut waiting: mpsc::Receiver<Vec<StockName>>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, WAITING_LINES_MAX).await > 0 {
        let mut text = String::new();
        for names in batch.drain(..) {
            for (position, name) in names.iter().enumerate() {
                if position > 0 {
                    text.push(' ');
                }
                text.push_str(name.as_str());
            }
            text.push('\n');
        }
        let written = async {
            file.write_all(text.as_bytes()).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "the cache log could not be written; some lines are missing");
        }
    }
}
