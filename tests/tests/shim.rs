//! The shim does what the faults that rest on it need: a power cut takes what was not synced, and only that; syncs fail
//! and are slow; the wall clock jumps.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Name,
    chaos::Draw,
    shim::{Lost, Shim},
};
use tempfile::TempDir;

const NAME: Name = Name::Replica(1);
const SEED: u64 = 7;
const SLOW_BY_MS: u64 = 20;
/// Files that are made and removed, one after the other.
const FILES: usize = 3;

/// A folder of data, and the shim before it.
struct Story {
    folder: TempDir,
    shim: Shim,
}

impl Story {
    /// `None`, with the reason printed, where there is no C compiler.
    fn begin() -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let Some(shim) = Shim::compile(folder.path())? else { return Ok(None) };
        let story = Self { folder, shim };
        fs::create_dir(story.data())?;
        Ok(Some(story))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a shell command in the folder of data, behind the shim; returns whether it succeeded, and what it printed.
    fn run(&self, command: &str) -> Result<(bool, String)> {
        let mut env = Command::new("env");
        env.args(self.shim.variables(NAME, &self.data())?).args(["sh", "-c", command]).current_dir(self.data());
        let output = env.output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?.trim().to_owned()))
    }

    /// Appends a kilobyte to a file, and syncs the file if told to.
    fn append(&self, file: &str, synced: bool) -> Result<bool> {
        let sync = if synced { "conv=notrunc,fsync" } else { "conv=notrunc" };
        Ok(self.run(&format!("dd if=/dev/zero of={file} bs=1k count=1 oflag=append status=none {sync}"))?.0)
    }

    fn cut_power(&self) -> Result<Lost> {
        self.shim.cut_power(NAME, &self.data(), false, &mut Draw::new(SEED))
    }

    fn cut_power_with_names(&self) -> Result<Lost> {
        self.shim.cut_power(NAME, &self.data(), true, &mut Draw::new(SEED))
    }

    fn length(&self, file: &str) -> Result<u64> {
        Ok(fs::metadata(self.data().join(file)).context("the file is there")?.len())
    }
}

#[test]
fn a_power_cut_takes_what_was_not_synced() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.append("log", true)? && story.append("log", false)? && story.append("other", false)?);
    let lost = story.cut_power()?;
    let left = (story.length("log")?, story.length("other")?);
    ensure!((1_024..=2_048).contains(&left.0) && left.1 <= 1_024, "{left:?}");
    ensure!(lost.bytes == 3 * 1_024 - left.0 - left.1 && lost.bytes > 0, "{lost:?}, {left:?}");
    // What is left is on the disk now.
    ensure!(story.cut_power()? == Lost::default());
    ensure!((story.length("log")?, story.length("other")?) == left);
    Ok(())
}

#[test]
fn a_power_cut_takes_nothing_that_was_synced() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.append("log", true)? && story.append("log", true)?);
    ensure!(story.cut_power()? == Lost::default() && story.length("log")? == 2_048);
    Ok(())
}

#[test]
fn a_power_cut_can_take_names_of_folders_that_were_not_synced() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.append("log", true)? && story.append("renamed", true)? && story.run("sync .")?.0);
    ensure!(story.append("other", true)? && story.run("mkdir folder && mv renamed folder.new")?.0);
    ensure!(story.append("folder/file", true)? && story.run("sync folder")?.0);
    let lost = story.cut_power_with_names()?;
    ensure!(lost == Lost { names: 3, ..Lost::default() }, "{lost:?}");
    ensure!(story.run("echo *")?.1 == "log renamed", "{:?}", story.run("ls -R")?);
    // What is left is on the disk now.
    ensure!(story.cut_power_with_names()? == Lost::default());
    Ok(())
}

#[test]
fn a_power_cut_takes_no_names_of_folders_that_were_synced() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.run("mkdir folder")?.0 && story.append("folder/file", true)?);
    ensure!(story.run("sync folder . && echo more > folder/file && sync folder/file")?.0);
    ensure!(story.cut_power_with_names()? == Lost::default() && story.length("folder/file")? == 5);
    Ok(())
}

#[test]
fn no_later_sync_brings_back_what_one_failed_to_sync() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.append("log", true)?);
    story.shim.fail_syncs(NAME, true)?;
    ensure!(!story.append("log", true)?);
    story.shim.fail_syncs(NAME, false)?;
    ensure!(story.append("log", true)? && story.append("other", true)?);
    let lost = story.cut_power()?;
    ensure!(lost.files == 1 && story.length("other")? == 1_024, "{lost:?}");
    ensure!((1_024..3_072).contains(&story.length("log")?), "{lost:?}");
    Ok(())
}

#[test]
fn syncs_fail_and_are_slow_as_told() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    ensure!(story.append("log", true)?);
    story.shim.fail_syncs(NAME, true)?;
    ensure!(!story.append("log", true)? && story.append("log", false)?);
    story.shim.fail_syncs(NAME, false)?;
    ensure!(story.append("log", true)? && story.shim.slowed(NAME)? == 0);
    let began = Instant::now();
    story.shim.slow_syncs(NAME, Some(SLOW_BY_MS))?;
    ensure!(story.append("log", true)? && story.shim.slowed(NAME)? == 1);
    ensure!(began.elapsed() >= Duration::from_millis(SLOW_BY_MS));
    Ok(())
}

#[test]
fn a_file_is_not_taken_for_one_that_was_removed() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    // Most file systems give the inode again.
    for _ in 0..FILES {
        ensure!(story.append("log", true)?);
        fs::remove_file(story.data().join("log"))?;
    }
    ensure!(story.append("log", false)?);
    let lost = story.cut_power()?;
    ensure!(lost.bytes == 1_024 - story.length("log")? && lost.files == 1, "{lost:?}");
    Ok(())
}

#[test]
fn the_wall_clock_jumps() -> Result<()> {
    let Some(story) = Story::begin()? else { return Ok(()) };
    let year = || story.run("date -u +%Y")?.1.parse::<i64>().context("a year");
    let now = year()?;
    story.shim.set_clock(NAME, 10 * 366 * 86_400)?;
    let later = year()?;
    ensure!(later >= now + 10 && story.shim.wrong_times(NAME)? > 0, "{now}, and then {later}");
    story.shim.set_clock(NAME, 0)?;
    ensure!(year()? < later);
    Ok(())
}
