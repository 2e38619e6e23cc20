//! What processes take between two moments: CPU, bytes written, memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::procfs::{MachineTicks, Processes, Stat, TICKS_PER_S, field};

/// The client's name among the groups.
pub const CLIENT: &str = "client";

/// How often the processes are read at most; on a machine that starts some all the time the last reading counts.
const READS_MAX: usize = 20;

/// Processes of one name: `leader`, `followers`.
#[derive(Debug, Clone)]
pub struct Group {
    /// The name.
    pub name: &'static str,
    /// Their ids; children of theirs count as well.
    pub pids: Vec<u32>,
}

/// Ticks and bytes at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    machine: MachineTicks,
    /// Of everything that this process started, its own and the kernel's threads.
    known_ticks: u64,
    ticks: BTreeMap<&'static str, u64>,
    written_bytes: BTreeMap<&'static str, u64>,
}

/// What was taken between two moments.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Usage {
    /// Share of the machine's CPU that other programs took.
    pub others_percent: f64,
    /// Share that other guests of the host took.
    pub stolen_percent: f64,
    /// Share that was at work here, interrupts included.
    pub busy_percent: f64,
    /// CPU seconds of each group, and of the client.
    pub cpu_s: BTreeMap<String, f64>,
    /// Bytes that each group wrote to the disk.
    pub written_bytes: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Looks now.
    ///
    /// # Errors
    /// If a process of a group is gone, or `/proc` cannot be read.
    pub fn take(groups: &[Group]) -> Result<Self> {
        let machine = MachineTicks::parse(&fs::read_to_string("/proc/stat")?)?;
        let processes = read_processes()?;
        let own = std::process::id();
        let mut ticks: BTreeMap<_, _> = groups
            .iter()
            .map(|group| (group.name, group.pids.iter().map(|pid| processes.tree_ticks(*pid)).sum()))
            .collect();
        // A client runs only between two looks: whatever ended in between was one.
        ticks.insert(CLIENT, processes.0.get(&own).context("this process is not in /proc")?.ended_ticks);
        let written = groups.iter().map(|group| Ok((group.name, written_bytes(&group.pids)?)));
        let written_bytes = written.collect::<Result<_>>()?;
        let known_ticks = processes.tree_ticks(own) + processes.kernel_ticks();
        Ok(Self { machine, known_ticks, ticks, written_bytes })
    }

    /// What was taken since an earlier moment.
    pub fn since(&self, before: &Self) -> Usage {
        let total = self.machine.total.saturating_sub(before.machine.total).max(1) as f64;
        let programs = self.machine.programs.saturating_sub(before.machine.programs);
        let idle = self.machine.idle.saturating_sub(before.machine.idle);
        let known = self.known_ticks.saturating_sub(before.known_ticks);
        let stolen = self.machine.stolen.saturating_sub(before.machine.stolen);
        let percent = |ticks: u64| 100.0 * ticks as f64 / total;
        let cpu = grown(&self.ticks, &before.ticks).map(|(name, ticks)| (name, ticks as f64 / TICKS_PER_S));
        Usage {
            others_percent: percent(programs.saturating_sub(known)),
            stolen_percent: percent(stolen),
            busy_percent: 100.0 - percent(idle + stolen),
            cpu_s: cpu.collect(),
            written_bytes: grown(&self.written_bytes, &before.written_bytes).collect(),
        }
    }
}

fn grown<'a>(
    now: &'a BTreeMap<&'static str, u64>,
    before: &'a BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = (String, u64)> + 'a {
    now.iter().map(|(name, value)| {
        let earlier = before.get(name).copied().unwrap_or_default();
        ((*name).to_owned(), value.saturating_sub(earlier))
    })
}

/// Resident memory of each group in MiB.
///
/// # Errors
/// If a process is gone.
pub fn resident_mib(groups: &[Group]) -> Result<BTreeMap<String, f64>> {
    let each = groups.iter().map(|group| {
        let kib = sum(&group.pids, "status", "VmRSS")?;
        Ok((group.name.to_owned(), kib as f64 / 1_024.0))
    });
    each.collect()
}

fn written_bytes(pids: &[u32]) -> Result<u64> {
    sum(pids, "io", "write_bytes")
}

fn sum(pids: &[u32], file: &str, name: &str) -> Result<u64> {
    let read = |pid: &u32| {
        let path = format!("/proc/{pid}/{file}");
        field(&fs::read_to_string(&path).with_context(|| format!("process {pid} is gone ({path})"))?, name)
    };
    pids.iter().map(read).sum()
}

/// All processes, read until none ended meanwhile: what an ended one took is its parent's, who may have been read before.
fn read_processes() -> Result<Processes> {
    let mut all = Processes::default();
    for _ in 0..READS_MAX {
        all.0.clear();
        let listed = pids()?;
        for pid in &listed {
            if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) {
                all.0.insert(*pid, Stat::parse(&text)?);
            }
        }
        let now = pids()?;
        if listed.iter().all(|pid| all.0.contains_key(pid) && now.contains(pid)) {
            break;
        }
    }
    Ok(all)
}

fn pids() -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(total: u64, programs: u64, known_ticks: u64, leader: u64, written: u64) -> Snapshot {
        let (idle, stolen) = (total / 4, total / 100);
        let machine = MachineTicks { total, programs, idle, stolen };
        let (ticks, written_bytes) = ([("leader", leader)].into(), [("leader", written)].into());
        Snapshot { machine, known_ticks, ticks, written_bytes }
    }

    #[test]
    fn what_is_not_ours_is_others() {
        let usage = at(3_000, 1_500, 900, 250, 10_000).since(&at(1_000, 500, 100, 50, 1_000));
        assert_eq!((usage.others_percent, usage.busy_percent, usage.stolen_percent), (10.0, 74.0, 1.0));
        assert_eq!(usage.cpu_s, [("leader".to_owned(), 2.0)].into());
        assert_eq!(usage.written_bytes, [("leader".to_owned(), 9_000)].into());
    }

    #[test]
    fn two_looks_at_once_are_no_division_by_zero() {
        let same = at(1_000, 500, 100, 50, 0);
        assert_eq!(same.since(&same).others_percent, 0.0);
    }

    #[test]
    fn this_machine_can_be_looked_at_and_an_ended_child_counts_as_the_client() {
        let own = [Group { name: "driver", pids: vec![std::process::id()] }];
        let before = Snapshot::take(&own).unwrap();
        let count = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", count]).status().unwrap().success());
        let usage = Snapshot::take(&own).unwrap().since(&before);
        assert!(usage.cpu_s[CLIENT] > 0.0, "{usage:?}");
        assert!(resident_mib(&own).unwrap()["driver"] > 0.0);
        assert!(resident_mib(&[Group { name: "nobody", pids: vec![u32::MAX] }]).is_err());
    }
}
