//! The machine that measures.

use std::{env, fs, os::unix::fs::MetadataExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// File systems that are no disk, as `stat` calls them.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// The machine, as figures should name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The time in UTC.
    pub time: String,
    /// The revision of the project, if it lies in a repository.
    pub revision: Option<String>,
    /// Cores that may be used.
    pub cores: usize,
    /// The processor.
    pub processor: String,
    /// All memory.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The folder's file system.
    pub file_system: String,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// If it does not say.
    pub fn look() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let memory_kib = crate::procfs::field(&fs::read_to_string("/proc/meminfo")?, "MemTotal")?;
        Ok(Self {
            time: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).context("date says nothing")?,
            revision: said("git", &["describe", "--always", "--dirty"]),
            cores: std::thread::available_parallelism()?.get(),
            processor: model.map_or("unknown", |(_, name)| name).trim().to_owned(),
            memory_mib: memory_kib / 1_024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: file_system("%T")?,
        })
    }
}

/// What a small program prints, if it is there and succeeds.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// What `stat` says of the temporary folder's file system.
fn file_system(format: &str) -> Result<String> {
    let folder = env::temp_dir();
    said("stat", &["-f", "-c", format, &folder.to_string_lossy()])
        .with_context(|| format!("{} cannot be used; name another folder with TMPDIR", folder.display()))
}

/// Refuses a temporary folder that is no disk: what is synced there has not left the memory.
///
/// # Errors
/// If it is in memory, or cannot be looked at.
pub fn require_disk() -> Result<()> {
    let kind = file_system("%T")?;
    let folder = env::temp_dir();
    let is_disk = !IN_MEMORY.contains(&kind.as_str());
    ensure!(is_disk, "{} is {kind} and no disk; name a folder on a disk with TMPDIR", folder.display());
    Ok(())
}

/// Bytes that can still be written to the temporary folder's disk.
///
/// # Errors
/// If it cannot be looked at.
pub fn free_bytes() -> Result<u64> {
    let said = file_system("%a %S")?;
    let (blocks, size) = said.split_once(' ').context("stat says something else than two numbers")?;
    Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Ids of a user and its group.
///
/// # Errors
/// If there is no such user.
pub fn user_ids(name: &str) -> Result<(u32, u32)> {
    let id = |flag| said("id", &[flag, name]).and_then(|text| text.parse().ok());
    id("-u").zip(id("-g")).with_context(|| format!("there is no user '{name}'; its package makes one"))
}

/// A program of the path, by its whole path.
///
/// # Errors
/// If it is missing; the message names its package.
pub fn find_program(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is missing; install it with: sudo apt-get install {package}"))
}

/// Processes of a bazaar that are running: they would share the machine with what is measured.
pub fn running_bazaars() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.filter(|pid| name(pid).starts_with("bazaar-")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_for_everything() {
        let machine = Machine::look().unwrap();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        assert!(machine.time.ends_with('Z') && !machine.kernel.is_empty(), "{machine:?}");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        assert!(find_program("sh", "dash").is_ok());
        let error = find_program("no-such-program", "some-package").unwrap_err().to_string();
        assert!(error.contains("apt-get install some-package"), "{error}");
    }

    #[test]
    fn root_has_ids_and_a_user_who_does_not_exist_has_none() {
        assert_eq!(user_ids("root").unwrap(), (0, 0));
        assert!(user_ids("no-such-user-here").is_err());
    }
}
