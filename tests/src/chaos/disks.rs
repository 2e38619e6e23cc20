//! Disks that are full, slow, failing, cut off from power, damaged, old or gone.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use tokio::time::sleep;

use super::{Chaos, Check, ON_SMALL_DISK, happened, recovers};
use crate::{
    Name,
    disk::{copied, emptied, files},
    shim::Lost,
    wait_until,
};

/// How long a replica works on with a full disk, if it can.
const FULL_FOR: Duration = Duration::from_secs(2);
/// How long a disk is slow, and by how much.
const SLOW_FOR: Duration = Duration::from_secs(2);
const SLOW_BY_MS: [u64; 3] = [5, 40, 250];
/// The same for all disks, before their power goes.
const SLOW_BEFORE_CUT: Duration = Duration::from_secs(1);
const SLOW_BEFORE_CUT_MS: u64 = 250;
/// How long all disks fail to sync before that, and then work.
const FAILING_BEFORE_CUT: Duration = Duration::from_millis(300);
/// How long a damaged replica may work until it is replaced.
const DAMAGED_FOR: Duration = Duration::from_secs(1);
/// How often, and at what distance, a damaged replica is looked at.
const FATE_LOOKS: u32 = 3_000;
const FATE_LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long an old directory is tried.
const OLD_FOR: Duration = Duration::from_secs(2);

impl Chaos {
    pub(super) async fn fill_disk(&mut self) -> Result<String> {
        if self.draw.one_in(2) {
            recovers(&self.traffic, self.cluster.transfer(ON_SMALL_DISK)).await?;
        }
        let leads = self.leader().await? == ON_SMALL_DISK;
        let mut ballast = self.small_disk.as_ref().context("a small disk")?.fill()?;
        sleep(FULL_FOR).await;
        let name = Name::Replica(ON_SMALL_DISK);
        if !self.cluster.has_ended(name)? {
            // It still writes where it has reserved room. A start needs more.
            self.cluster.kill(name);
            self.cluster.launch(name, false)?;
        }
        for _ in 0..FATE_LOOKS {
            // What it gives back at a start is not for it.
            ballast.fill();
            if self.cluster.has_ended(name)? {
                break;
            }
            sleep(FATE_LOOK_EVERY).await;
        }
        let words = self.last_words(ON_SMALL_DISK).await?;
        happened(words.contains("No space left on device"), || words.clone())?;
        drop(ballast);
        self.start(name)?;
        Ok(format!("replica {ON_SMALL_DISK}, {}", if leads { "leading" } else { "following" }))
    }

    pub(super) async fn fail_syncs(&mut self) -> Result<String> {
        let id = self.a_replica().await?;
        self.cluster.shim()?.fail_syncs(Name::Replica(id), true)?;
        let words = self.last_words(id).await.context(Check::FailedSync)?;
        happened(words.contains("look after the disk"), || words.clone())?;
        self.cluster.shim()?.fail_syncs(Name::Replica(id), false)?;
        self.start(Name::Replica(id))?;
        Ok(format!("replica {id}"))
    }

    /// What a replica says that ends by itself.
    async fn last_words(&mut self, id: u64) -> Result<String> {
        let ended = self.cluster.ended(Name::Replica(id));
        let (code, mut words) = self.traffic.unless_faulty(ended).await?;
        let last = words.pop().with_context(|| format!("replica {id} ended with {code} and without a word"))?;
        ensure!(code != 0, "replica {id} ended with 0: {last}");
        Ok(last)
    }

    pub(super) async fn slow_syncs(&mut self) -> Result<String> {
        let name = Name::Replica(self.a_replica().await?);
        let by = *self.draw.one_of(&SLOW_BY_MS);
        // Notes of earlier faults end with a power cut.
        let before = self.cluster.shim()?.slowed(name)?;
        self.cluster.shim()?.slow_syncs(name, Some(by))?;
        self.last_for(SLOW_FOR).await?;
        let syncs = wait_until("a slow disk has synced", || async {
            Some(self.cluster.shim().ok()?.slowed(name).ok()? - before).filter(|syncs| *syncs > 0)
        });
        let syncs = self.traffic.unless_faulty(syncs).await?;
        self.cluster.shim()?.slow_syncs(name, None)?;
        Ok(format!("{name:?}, {syncs} syncs by {by} ms"))
    }

    pub(super) async fn cut_power_of_one(&mut self) -> Result<String> {
        // Frontends have no disk.
        let name = if self.draw.one_in(4) { Name::Catalog } else { Name::Replica(self.a_replica().await?) };
        self.cluster.kill(name);
        let lost = self.cut_power(name)?;
        self.start(name)?;
        Ok(format!("{name:?}, {lost}"))
    }

    pub(super) async fn cut_power_of_all(&mut self) -> Result<String> {
        let keepers: Vec<Name> = self.cluster.names().filter(|name| !matches!(name, Name::Frontend(_))).collect();
        let before = self.disks_before_the_cut(&keepers).await?;
        self.cluster.kill_all()?;
        self.all_disks_work(&keepers)?;
        let mut all = Lost::default();
        for name in keepers {
            all += self.cut_power(name)?;
        }
        // What replicas apply is synced now and then only.
        happened(all.bytes > 0, || "everything was synced".into())?;
        self.start_all()?;
        Ok(format!("{all}{before}"))
    }

    /// What the disks do until the power goes: work, take long, or fail to sync.
    async fn disks_before_the_cut(&mut self, keepers: &[Name]) -> Result<&'static str> {
        let shim = self.cluster.shim()?;
        let (words, lasts) = match self.draw.below(3) {
            0 => return Ok(""),
            1 => {
                keepers.iter().try_for_each(|name| shim.slow_syncs(*name, Some(SLOW_BEFORE_CUT_MS)))?;
                (", slow before", SLOW_BEFORE_CUT)
            }
            _ => {
                keepers.iter().try_for_each(|name| shim.fail_syncs(*name, true))?;
                sleep(FAILING_BEFORE_CUT).await;
                keepers.iter().try_for_each(|name| shim.fail_syncs(*name, false))?;
                // Who took a failure for a success goes on.
                (", failing to sync before", FAILING_BEFORE_CUT)
            }
        };
        sleep(lasts).await;
        Ok(words)
    }

    fn all_disks_work(&self, keepers: &[Name]) -> Result<()> {
        keepers.iter().try_for_each(|name| self.cluster.shim()?.slow_syncs(*name, None))
    }

    fn cut_power(&mut self, name: Name) -> Result<Lost> {
        let with_names = self.draw.one_in(2);
        self.cluster.shim()?.cut_power(name, &self.cluster.data(name), with_names, &mut self.draw)
    }

    pub(super) async fn flip_bit(&mut self) -> Result<String> {
        let id = self.a_follower().await?;
        let name = Name::Replica(id);
        self.cluster.kill(name);
        let files =
            files(&self.cluster.data(name))?.into_iter().filter(|file| file.metadata().is_ok_and(|it| it.len() > 0));
        let files: Vec<PathBuf> = files.collect();
        let file = self.draw.one_of(&files).clone();
        let (place, bit) = (self.draw.below(file.metadata()?.len()), self.draw.below(8));
        flip(&file, place, 1 << bit)?;
        self.cluster.launch(name, false)?;
        let goes_on = self.becomes_ready(name).await?;
        if goes_on {
            sleep(DAMAGED_FOR).await;
            self.agrees(id).await?;
        }
        // However it took it: what is damaged is replaced.
        self.replace(id).await?;
        let file = file.strip_prefix(self.cluster.folder())?.display().to_string();
        let after = if goes_on { "not noticed, or mended" } else { "refused" };
        Ok(format!("bit {bit} of byte {place} of {file}: {after}"))
    }

    /// A damaged replica that goes on has the same orders as the leader, as far as it has applied them. It may end instead.
    async fn agrees(&mut self, id: u64) -> Result<()> {
        let health = format!("{}/health", self.cluster.url_of(Name::Replica(id)));
        let Ok((_, health)) = self.cluster.get(&health).await else { return Ok(()) };
        let orders = health["data"]["orders"].as_u64().context("how many orders it has")?;
        let of = |id| format!("{}/admin/digest?number={orders}", self.cluster.admin_url(id));
        let Ok((StatusCode::OK, its)) = self.cluster.get(&of(id)).await else { return Ok(()) };
        let (_, leaders) = self.cluster.get(&of(self.leader().await?)).await?;
        let digests = [&its, &leaders].map(|answer| answer["data"]["digest"].as_str());
        let differ = || Check::Orders.failed(format!("replica {id} at order {orders}: {digests:?}"));
        ensure!(digests[0].is_some() && digests[0] == digests[1], differ());
        Ok(())
    }

    /// Whether a replica becomes ready, or ends by itself with a word.
    async fn becomes_ready(&mut self, name: Name) -> Result<bool> {
        let ready = format!("{}/readyz", self.cluster.url_of(name));
        for _ in 0..FATE_LOOKS {
            self.traffic.unless_faulty(async { Ok(()) }).await?;
            if self.has_refused(name).await? {
                return Ok(false);
            }
            if self.cluster.client().get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(true);
            }
            sleep(FATE_LOOK_EVERY).await;
        }
        bail!("{name:?} neither becomes ready nor ends")
    }

    /// Whether a replica has ended by itself, which it may not do without a word.
    async fn has_refused(&mut self, name: Name) -> Result<bool> {
        if !self.cluster.has_ended(name)? {
            return Ok(false);
        }
        let (code, words) = self.cluster.ended(name).await?;
        ensure!(code != 0 && !words.is_empty(), "{name:?} ended with {code} and without a word");
        Ok(true)
    }

    pub(super) async fn wipe(&mut self) -> Result<String> {
        let id = self.a_replica().await?;
        self.replace(id).await?;
        Ok(format!("replica {id}"))
    }

    /// Takes a replica's directory away. All goes on without it, and then it is taken in again.
    async fn replace(&mut self, id: u64) -> Result<()> {
        self.cluster.lose(id)?;
        self.goes_on_in_time().await?;
        recovers(&self.traffic, self.cluster.take_in(id)).await
    }

    pub(super) async fn bring_back_old_directory(&mut self) -> Result<String> {
        let id = self.a_follower().await?;
        let (name, data) = (Name::Replica(id), self.cluster.data(Name::Replica(id)));
        let old = data.with_extension("old");
        self.cluster.kill(name);
        copied(&data, &old)?;
        self.replace(id).await?;
        self.traffic.trades_go_on().await?;
        self.cluster.kill(name);
        emptied(&data)?;
        copied(&old.join("."), &data)?;
        fs::remove_dir_all(old)?;
        self.cluster.launch(name, false)?;
        sleep(OLD_FOR).await;
        let words = self.does_not_count(name).await?;
        self.replace(id).await?;
        Ok(format!("replica {id}, which {words}"))
    }

    /// A replica that runs says that it is not ready; or it has ended with a word.
    async fn does_not_count(&mut self, name: Name) -> Result<&'static str> {
        let ready = format!("{}/readyz", self.cluster.url_of(name));
        for _ in 0..FATE_LOOKS {
            if self.has_refused(name).await? {
                return Ok("refused");
            }
            if let Ok(answer) = self.cluster.client().get(&ready).send().await {
                ensure!(!answer.status().is_success(), "{name:?} counts again with a directory that was replaced");
                return Ok("did not count");
            }
            sleep(FATE_LOOK_EVERY).await;
        }
        bail!("{name:?} neither answers nor ends")
    }
}

fn flip(file: &Path, place: u64, mask: u8) -> Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place)?;
    Ok(file.write_all_at(&[byte[0] ^ mask], place)?)
}
