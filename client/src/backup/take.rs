//! Takes a backup: chooses a replica, checks what it sends while it comes, and gives it its name at the end.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::{
    ReplicaId,
    api::{Health, Role},
    config::ClusterConfig,
};
use bazaar_order_raft::backup::format::{Nowhere, Verified, read_archive};
use bazaar_service::Caller;
use bytes::{Buf, Bytes};
use futures::future::join_all;
use reqwest::Response;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    Context,
    admin::{Replica, configured},
    api::Failure,
    exit::{Ending, Exit},
};

/// How long a replica is looked for that has applied all it knows of: under load each lags for moments.
const CHOICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A transfer may take as long as it needs, but a replica that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Chunks that wait to be checked and written.
const CHUNKS_WAITING_MAX: usize = 16;

type Chunk = io::Result<Bytes>;

/// Takes a backup into `file`, from this replica or the one that suits best.
///
/// # Errors
/// If `file` exists, no replica suits, or the backup does not arrive whole. Then there is no `file`.
pub(super) async fn take(context: &Context, file: &Path, replica: Option<ReplicaId>) -> Result<Verified> {
    let config = context.cluster()?;
    let draft = Draft::begin(file)?;
    let caller = context.frontend.caller();
    let replica = match replica {
        Some(id) => Replica::new(configured(&config, id)?, caller),
        None => choose(&config, caller).await?,
    };
    let answer = replica.backup().await;
    let answer = answer.with_context(|| format!("replica {} gives no backup, see --replica", replica.id))?;
    receive(answer, draft)
        .await
        .with_context(|| format!("the backup of replica {} did not arrive, and nothing is kept of it", replica.id))
}

/// The replica that suits best.
async fn choose(config: &ClusterConfig, caller: &Caller) -> Result<Replica> {
    let replicas: Vec<Replica> = config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect();
    let deadline = Instant::now() + CHOICE_TIMEOUT;
    loop {
        let looks = join_all(replicas.iter().map(Replica::health)).await;
        let answered: Vec<Health> = looks.into_iter().filter_map(Result::ok).collect();
        if let Some(id) = best(&answered) {
            return Ok(Replica::new(config.replica(id)?, caller));
        }
        if Instant::now() >= deadline {
            let (answered, all) = (answered.len(), replicas.len());
            let why = "answer, and none has applied all it knows of; name one with --replica";
            bail!(Ending::new(Exit::Unavailable, format!("{answered} of {all} replicas {why}")));
        }
        sleep(PAUSE).await;
    }
}

/// Of those that applied all they know to be committed: one that is in touch with the cluster, then a follower, since
/// the leader has more to do, then the highest number.
fn best(answered: &[Health]) -> Option<ReplicaId> {
    let suits = |health: &&Health| health.role != Role::Joining && health.applied >= health.committed;
    let rank = |health: &&Health| {
        let role = match health.role {
            Role::Follower => 3,
            Role::Leader => 2,
            Role::Candidate => 1,
            Role::Learner | Role::Joining => 0,
        };
        (health.ready, role, health.id)
    };
    answered.iter().filter(suits).max_by_key(rank).map(|health| health.id)
}

/// Brings the answer's chunks to the thread that checks and writes them.
async fn receive(mut answer: Response, draft: Draft) -> Result<Verified> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let writing = spawn_blocking(move || draft.fill(Chunks { receiver, current: Bytes::new() }));
    loop {
        let chunk = match timeout(SILENCE_MAX, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => Ok(chunk),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => Err(io::Error::other(format!("the connection broke: {}", Failure::from(error)))),
            Err(_) => Err(io::Error::other(format!("nothing came for {} s", SILENCE_MAX.as_secs()))),
        };
        let is_last = chunk.is_err();
        // The writer has gone away if it found something wrong, and says what.
        if sender.send(chunk).await.is_err() || is_last {
            break;
        }
    }
    drop(sender);
    writing.await?
}

/// Received chunks as a reader.
struct Chunks {
    receiver: mpsc::Receiver<Chunk>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(chunk) = self.receiver.blocking_recv() else { return Ok(0) };
            self.current = chunk?;
        }
        let read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// Writes down what is read.
struct Tee<'a, R> {
    input: R,
    output: &'a File,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.output
            .write_all(&buffer[..read])
            .map_err(|error| io::Error::new(error.kind(), format!("it cannot be written: {error}")))?;
        Ok(read)
    }
}

/// The file while it is not complete; removed when dropped, unless it got its name.
#[derive(Debug)]
struct Draft {
    partial: PathBuf,
    file: PathBuf,
    output: File,
    is_kept: bool,
}

impl Draft {
    fn begin(file: &Path) -> Result<Self> {
        refuse_existing(file)?;
        let Some(name) = file.file_name() else { bail!("{} is no name of a file", file.display()) };
        let mut name = name.to_owned();
        name.push(".partial");
        let partial = file.with_file_name(name);
        let shown = partial.display();
        // What a backup left that was cut off is overwritten, but not what another one is writing.
        let output = File::options().create(true).write(true).truncate(false).open(&partial);
        let output = output.with_context(|| format!("{shown} cannot be written"))?;
        match output.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another backup is being written to {shown}"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
        output.set_len(0).with_context(|| format!("{shown} cannot be written"))?;
        Ok(Self { partial, file: file.to_owned(), output, is_kept: false })
    }

    /// Checks and writes the backup, makes it durable and gives it its name. Blocks.
    fn fill(mut self, input: impl Read) -> Result<Verified> {
        let verified = read_archive(Tee { input, output: &self.output }, &mut Nowhere)?;
        let shown = self.file.display();
        self.output.sync_all().with_context(|| format!("{shown} cannot be synced"))?;
        refuse_existing(&self.file)?;
        fs::rename(&self.partial, &self.file).with_context(|| format!("{shown} cannot be given its name"))?;
        self.is_kept = true;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("{shown} cannot be synced"))?;
        Ok(verified)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // The error that brought us here says more than this one could.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn refuse_existing(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        bail!("{} exists already; name another file", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Body, routing::get};
    use bazaar_domain::{Address, config::ReplicaConfig};
    use bazaar_order_raft::{
        backup::format::{Archive, Manifest},
        snapshot_dir::SnapshotDir,
    };
    use futures::{StreamExt, stream};
    use tokio::{net::TcpListener, sync::oneshot};

    use super::*;

    /// The answer of a replica that sends these pieces, and then either ends or breaks off.
    async fn sent(pieces: Vec<Bytes>, breaks_off: bool) -> Response {
        let (answered, seen) = oneshot::channel();
        let end = async move {
            let _ = seen.await;
            if breaks_off { Err(io::Error::other("the replica died")) } else { Ok(Bytes::new()) }
        };
        let chunks = stream::iter(pieces.into_iter().map(Chunk::Ok)).chain(stream::once(end));
        let body = Arc::new(Mutex::new(Some(Body::from_stream(chunks))));
        let answer = move || std::future::ready(body.lock().unwrap().take().expect("asked for once"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap();
        let routes = Router::new().route("/admin/backup", get(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let admin = Address::from(admin);
        let config = ReplicaConfig { id: 1, service: admin.clone(), peers: admin.clone(), admin };
        let response = Replica::new(&config, &Caller::new()).backup().await.unwrap();
        answered.send(()).unwrap();
        response
    }

    fn archive() -> Vec<u8> {
        let content = vec![7; 300_000];
        let manifest = Manifest {
            cluster_id: "c".into(),
            replica: 1,
            term: 2,
            index: 3,
            orders: 4,
            digest: "ab".into(),
            taken_unix_s: 5,
            data_format: 6,
            files: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("000007.sst"), content).unwrap();
        let dir = SnapshotDir { path: folder.path().to_owned() };
        let manifest = Manifest { files: dir.files().unwrap(), ..manifest };
        let mut bytes = Vec::new();
        Archive::new(&manifest, dir).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_transfer_is_kept_only_if_it_comes_to_its_end_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let archive = archive();
        let half = Bytes::copy_from_slice(&archive[..archive.len() / 2]);
        let mut flipped = archive.clone();
        flipped[archive.len() / 2] ^= 1;
        for (pieces, breaks_off, word) in [
            (vec![half.clone()], true, "the connection broke"),
            (vec![half], false, "truncated"),
            (vec![flipped.into()], false, "damaged"),
        ] {
            let answer = sent(pieces, breaks_off).await;
            let error = receive(answer, Draft::begin(&file).unwrap()).await.unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        let pieces = archive.chunks(70_000).map(Bytes::copy_from_slice).collect();
        receive(sent(pieces, false).await, Draft::begin(&file).unwrap()).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), archive);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    fn health(id: ReplicaId, role: Role, ready: bool, applied: u64) -> Health {
        Health {
            id,
            role,
            leader: Some(3),
            term: 1,
            ready,
            quorum_ack_age_ms: None,
            last_log_index: Some(12),
            committed: Some(10),
            applied: Some(applied),
            orders: 5,
            cluster_id: None,
            voters: Vec::new(),
        }
    }

    #[test]
    fn the_highest_follower_that_is_up_to_date_is_chosen_and_the_leader_only_if_there_is_none() {
        let leader = health(3, Role::Leader, true, 10);
        let [one, two] = [1, 2].map(|id| health(id, Role::Follower, true, 10));
        assert_eq!(best(&[one.clone(), two.clone(), leader.clone()]), Some(2));
        let behind = health(2, Role::Follower, true, 9);
        assert_eq!(best(&[one, behind.clone(), leader.clone()]), Some(1));
        assert_eq!(best(&[behind.clone(), leader]), Some(3));
        assert_eq!(best(&[behind]), None);
        let alone = health(1, Role::Candidate, false, 10);
        assert_eq!(best(&[alone, health(2, Role::Joining, false, 10)]), Some(1));
    }

    #[test]
    fn what_does_not_arrive_whole_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let draft = Draft::begin(&file).unwrap();
        assert!(Draft::begin(&file).unwrap_err().to_string().contains("another backup is being written"));
        let error = draft.fill(&b"BAZAARBK\0\0\0\x01"[..]).unwrap_err().to_string();
        assert!(error.contains("truncated"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&file, "letters").unwrap();
        assert!(Draft::begin(&file).unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read(&file).unwrap(), b"letters");
    }
}
