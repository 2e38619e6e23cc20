//! `scripts/cluster`: the only way in which the client touches processes.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::process::Command;

use crate::cli::CONFIG_DEFAULT;

/// Where the script is in a checkout.
const PATH: &str = "scripts/cluster";

/// The script that started the cluster, as an argument of the commands that take processes away.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// The script that started the cluster.
    #[arg(long, default_value = PATH, value_name = "FILE", visible_alias = "cluster-script")]
    pub script: PathBuf,
    /// The data folder that was given to the script.
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

impl ScriptArgs {
    /// The script, for a cluster with this configuration.
    pub fn of(&self, config: PathBuf) -> ClusterScript {
        ClusterScript::new(self.script.clone(), Some(self.data.clone()), config)
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
        let shown = self.path.display();
        let output = Command::new(&self.path)
            .args(words)
            .args(self.arguments().flat_map(|(flag, path)| [flag.as_ref(), path.as_os_str()]))
            .stdin(Stdio::null())
            // Ctrl-C at the terminal is for the client, which then brings back what it took away.
            .process_group(0)
            // Whoever gives up waiting must not leave it at work behind.
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{shown} cannot be run; name the script with --script"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{shown} {}: {}", words.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
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
