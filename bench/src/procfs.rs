//! What `/proc` says, as text to numbers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Ticks of `/proc` in a second: Linux shows this many to programs on every processor that we know.
pub const TICKS_PER_S: f64 = 100.0;
/// The process that all kernel threads descend from.
const KERNEL_THREADS: u32 = 2;

/// What a process took, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it.
    pub parent: u32,
    /// Its own ticks.
    pub own_ticks: u64,
    /// Ticks of its children that have ended.
    pub ended_ticks: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`.
    ///
    /// # Errors
    /// If it has another form.
    pub fn parse(text: &str) -> Result<Self> {
        // The name of the program is in brackets and may hold anything, also brackets and spaces.
        let fields: Vec<&str> = text.rsplit_once(')').context("no name in a stat")?.1.split_whitespace().collect();
        let number = |index: usize| -> Result<u64> {
            fields
                .get(index)
                .and_then(|field| field.parse().ok())
                .with_context(|| format!("no field {index} in a stat"))
        };
        Ok(Self {
            parent: u32::try_from(number(1)?)?,
            own_ticks: number(11)? + number(12)?,
            ended_ticks: number(13)? + number(14)?,
        })
    }
}

/// Ticks of the whole machine, from the first line of `/proc/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineTicks {
    /// All of them.
    pub total: u64,
    /// Of programs and the kernel working for them.
    pub programs: u64,
    /// With nothing to do, or waiting for a disk.
    pub idle: u64,
    /// Taken by other guests of the host.
    pub stolen: u64,
}

impl MachineTicks {
    /// Reads `/proc/stat`.
    ///
    /// # Errors
    /// If it has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let line = text.lines().find(|line| line.starts_with("cpu ")).context("no line 'cpu' in /proc/stat")?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
        let [user, nice, system, idle, waiting, _interrupts, _soft_interrupts, stolen] =
            *ticks.first_chunk::<8>().context("too few numbers in /proc/stat")?;
        let programs = user + nice + system;
        Ok(Self { total: ticks[..8].iter().sum(), programs, idle: idle + waiting, stolen })
    }
}

/// All processes at one moment.
#[derive(Debug, Clone, Default)]
pub struct Processes(pub BTreeMap<u32, Stat>);

impl Processes {
    /// Ticks of a process, its children and theirs, those that have ended included.
    pub fn tree_ticks(&self, root: u32) -> u64 {
        let in_tree = self.0.iter().filter(|(pid, _)| self.descends(**pid, root));
        in_tree.map(|(_, stat)| stat.own_ticks + stat.ended_ticks).sum()
    }

    /// Ticks of the kernel's own threads: they write our pages to the disk, and are nobody else's load.
    pub fn kernel_ticks(&self) -> u64 {
        self.tree_ticks(KERNEL_THREADS)
    }

    fn descends(&self, mut pid: u32, root: u32) -> bool {
        // A process number may be given anew while the table is read; the bound ends a circle that comes of it.
        for _ in 0..self.0.len() {
            if pid == root {
                return true;
            }
            match self.0.get(&pid) {
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    }
}

/// A number of `/proc/PID/status` or `/proc/PID/io`: `VmRSS:  1234 kB` or `write_bytes: 4096`.
///
/// # Errors
/// If the line is not there.
pub fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = line.and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("no line '{name}'"))?;
    word.parse().with_context(|| format!("'{name}' is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_program_is_called() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 4 20 0 1 0 99 1000 5";
        assert_eq!(Stat::parse(text).unwrap(), Stat { parent: 7, own_ticks: 120, ended_ticks: 7 });
        assert!(Stat::parse("42 (short) S 7").is_err());
        assert!(Stat::parse("").is_err());
    }

    #[test]
    fn the_machines_line_is_split_into_programs_idle_and_stolen() {
        let text = "cpu  10 1 5 80 2 1 1 4 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(MachineTicks::parse(text).unwrap(), MachineTicks { total: 104, programs: 16, idle: 82, stolen: 4 });
        assert!(MachineTicks::parse("cpu 1 2 3\n").is_err());
    }

    #[test]
    fn a_tree_counts_all_below_its_root_and_nothing_beside_it() {
        let stat = |parent, own_ticks, ended_ticks| Stat { parent, own_ticks, ended_ticks };
        let all = Processes(
            [(1, stat(0, 1, 1)), (2, stat(0, 5, 0)), (9, stat(2, 6, 0)), (10, stat(1, 100, 20)), (11, stat(10, 3, 0))]
                .into_iter()
                .chain([(12, stat(11, 4, 0)), (20, stat(1, 1_000, 0)), (30, stat(31, 7, 0)), (31, stat(30, 7, 0))])
                .collect(),
        );
        assert_eq!(all.tree_ticks(10), 127);
        assert_eq!(all.kernel_ticks(), 11);
        assert_eq!(all.tree_ticks(99), 0);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cancelled_write_bytes: 7\nwrite_bytes: 4096\nVmRSS:\t  1234 kB\n";
        assert_eq!(field(text, "write_bytes").unwrap(), 4_096);
        assert_eq!(field(text, "VmRSS").unwrap(), 1_234);
        assert!(field(text, "read_bytes").is_err());
    }
}
