//! One child process, with its log in a file.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

use crate::wait::LOOK_EVERY;

/// Where the build put a binary: beside the program that runs, or beside the folder `deps` if that is a test.
///
/// # Panics
/// If the program does not run from a target folder.
pub fn binary(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let folder = program.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps lies in target/release") } else { folder };
    folder.join(name)
}

/// Waits until this program is told to stop (SIGINT, SIGTERM), or its terminal is closed (SIGHUP), which is an error then.
///
/// # Errors
/// Always.
pub async fn told_to_stop() -> Result<()> {
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupted = ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    bail!("interrupted")
}

/// A running child. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Where its part of the log begins, behind what earlier ones wrote.
    log_from: usize,
}

impl Process {
    /// Starts a binary of ours, or one given by its whole path, with its output appended to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>, log: &Path) -> Result<Self> {
        Self::start_under(&[], name, arguments, log)
    }

    /// The same through another program that ends by running what it was given, such as `env A=B`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_under<A: AsRef<OsStr>>(
        prefix: &[&str],
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).context("a log cannot be opened")?;
        let log_from = usize::try_from(output.metadata()?.len())?;
        let binary = binary(name).into_os_string();
        let mut words = prefix.iter().map(|word| OsStr::new(word).to_owned()).chain([binary]);
        let child = Command::new(words.next().context("no program")?)
            .args(words)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name} cannot be started; run scripts/test, which builds it"))?;
        Ok(Self { child, log: log.to_owned(), log_from })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`KILL`, `TERM`, `STOP`, `CONT`).
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "SIG{signal} could not be sent");
        Ok(())
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not in this time; the message holds its output.
    pub async fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it does not end:\n{}", self.output());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it (kill -9) and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// All that it wrote.
    pub fn output(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_from..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
