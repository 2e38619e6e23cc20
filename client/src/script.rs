//! `scripts/cluster`: the only way in which the client touches processes.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use tokio::process::Command;

use crate::{
    cli::CONFIG_DEFAULT,
    exit::{Ending, Exit},
};

/// Where the script is in a checkout.
const PATH: &str = "scripts/cluster";

/// The script that started the cluster, as an argument of the commands that take processes away.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// The script that started the cluster [default: scripts/cluster of this checkout, or of the configuration's].
    #[arg(long, value_name = "FILE", visible_alias = "cluster-script")]
    pub script: Option<PathBuf>,
    /// The data folder that was given to the script [default: the script's own].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl ScriptArgs {
    /// The script, for a cluster with this configuration.
    ///
    /// # Errors
    /// If there is no such script, or no cluster was started in the data folder.
    pub fn of(&self, config: PathBuf) -> Result<ClusterScript> {
        let path = self.script.clone().unwrap_or_else(|| ClusterScript::beside(&config));
        let script = ClusterScript::new(path, self.data.clone(), config);
        script.must_have_started()?;
        Ok(script)
    }
}

/// The script, with the data folder and the configuration that it is told.
#[derive(Debug, Clone)]
pub struct ClusterScript {
    path: PathBuf,
    data: Option<PathBuf>,
    config: PathBuf,
}

impl ClusterScript {
    /// The script at this path. Without a data folder it takes its own default, `data` in its checkout.
    pub fn new(path: PathBuf, data: Option<PathBuf>, config: PathBuf) -> Self {
        Self { path, data, config }
    }

    /// The script of the checkout that the caller is in, or that the configuration lies in.
    pub fn beside(config: &Path) -> PathBuf {
        let here = PathBuf::from(PATH);
        let folders = config.parent().into_iter().flat_map(|folder| [folder.join(".."), folder.to_owned()]);
        let beside = folders.map(|folder| folder.join(PATH)).find(|path| path.exists());
        if here.exists() { here } else { beside.unwrap_or(here) }
    }

    /// Where the cluster's data, logs and pids are.
    pub fn data(&self) -> PathBuf {
        // As the script has it: beside the folder that it lies in.
        let own = || self.path.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("data");
        self.data.clone().unwrap_or_else(own)
    }

    /// # Errors
    /// If there is no such script, or no cluster was started in the data folder.
    pub fn must_have_started(&self) -> Result<()> {
        if !self.path.is_file() {
            let why = format!("there is no script {}; name it with --script", self.path.display());
            bail!(Ending::new(Exit::Usage, why));
        }
        let data = self.data();
        if !data.join("run").is_dir() {
            let start = self.typed(&["start"]);
            let why = format!("no cluster was started in {}; see --data, or start one with: {start}", data.display());
            bail!(Ending::new(Exit::Unavailable, why));
        }
        Ok(())
    }

    fn arguments(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let data = self.data.iter().map(|path| ("--data", path.as_path()));
        data.chain([("--config", self.config.as_path())])
    }

    /// What a person would type.
    pub fn typed(&self, words: &[&str]) -> String {
        let told = self.arguments().filter(|(_, path)| *path != Path::new(CONFIG_DEFAULT));
        let told = told.flat_map(|(flag, path)| [flag.to_owned(), quoted(&path.to_string_lossy())]);
        let path = quoted(&self.path.to_string_lossy());
        let words = words.iter().map(|word| quoted(word));
        [path].into_iter().chain(words).chain(told).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end; returns what it printed.
    ///
    /// # Errors
    /// If it cannot be run, or says that something failed.
    pub async fn call(&self, words: &[&str]) -> Result<String> {
        let output = self.run(words).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {}: {}", self.path.display(), words.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Whether a process of the cluster runs, and is not paused.
    ///
    /// # Errors
    /// If the script cannot be run.
    pub async fn runs(&self, processes: &[String]) -> Result<Vec<bool>> {
        // Whatever its exit code says: that is of the cluster, and here are the processes.
        let output = self.run(&["status"]).await?;
        let table = String::from_utf8_lossy(&output.stdout);
        let is_running =
            |name: &String| table.lines().any(|line| line.split_whitespace().take(2).eq([name.as_str(), "running"]));
        Ok(processes.iter().map(is_running).collect())
    }

    async fn run(&self, words: &[&str]) -> Result<Output> {
        let shown = self.path.display();
        Command::new(&self.path)
            .args(words)
            .args(self.arguments().flat_map(|(flag, path)| [flag.as_ref(), path.as_os_str()]))
            .stdin(Stdio::null())
            // Ctrl-C at the terminal is for the client, which then brings back what it took away.
            .process_group(0)
            // Whoever gives up waiting must not leave it at work behind.
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{shown} cannot be run; name the script with --script"))
    }
}

/// A word as a person would type it for a shell.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_also_where_names_hold_spaces() {
        let script = |path: &str, data| ClusterScript::new(path.into(), data, CONFIG_DEFAULT.into());
        assert_eq!(script(PATH, Some("data".into())).typed(&["restart", "2"]), "scripts/cluster restart 2 --data data");
        let spaced = script("/my bazaar/scripts/cluster", Some("it's".into()));
        assert_eq!(spaced.typed(&["start"]), r"'/my bazaar/scripts/cluster' start --data 'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
