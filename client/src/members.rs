//! `bazaar members`: shows the members of the cluster, and changes them one step at a time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::{
    ErrorKind, ReplicaId,
    api::{MemberChange, MemberView, Members, Role},
    config::{ClusterConfig, ReplicaConfig},
};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    Context,
    admin::{Replica, configured},
    api::Failure,
    exit::{Ending, Exit},
    output::{Report, or_dash, table, table_text, verdict_cell},
    terminal,
};

/// How long a leader is looked for, and a step that another change or an election is in the way of is repeated.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new member may take to catch up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Pause between two looks or tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the progress of a catch-up is told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// A learner that lacks no more log entries than this gets its vote; the leader refuses one that lacks many more.
const LAG_ENTRIES_MAX: u64 = 500;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar members list
  bazaar members add 4
  bazaar members replace 3";

/// The arguments of `bazaar members`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MembersArgs {
    #[command(subcommand)]
    command: MembersCommand,
}

#[derive(Debug, Subcommand)]
enum MembersCommand {
    /// Show the members.
    #[command(after_help = "Examples:\n  bazaar members list\n  bazaar members list --output json")]
    List,
    /// Take a new replica in: it catches up as a learner, then gets a vote. It must be in the configuration, and run
    /// with an empty data directory.
    #[command(after_help = "Examples:\n  bazaar members add 4")]
    Add {
        /// The replica's number.
        id: ReplicaId,
    },
    /// Remove a replica from the cluster. Stop it afterwards.
    #[command(after_help = "Examples:\n  bazaar members remove 4")]
    Remove {
        /// The replica's number.
        id: ReplicaId,
    },
    /// Take a replica in that lost its data directory, in place of what it was before.
    #[command(after_help = "Examples:\n  bazaar members replace 3")]
    Replace {
        /// The replica's number.
        id: ReplicaId,
    },
}

impl Report for Members {
    fn to_text(&self, colour: bool) -> String {
        let mut members = table(&["ID", "LIFE", "MEMBER AS", "LAG", "SERVICE", "PEERS", "ADMIN"], colour);
        for member in &self.members {
            let role = match (self.leader == Some(member.id), member.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            members.add_row([
                member.id.to_string().into(),
                format!("{:x}", member.life).into(),
                verdict_cell(role, member.voter),
                or_dash(member.lag).into(),
                member.service.clone().into(),
                member.peers.clone().into(),
                comfy_table::Cell::new(&member.admin),
            ]);
        }
        table_text(&members)
    }
}

#[derive(Debug, Serialize)]
struct Changed {
    done: String,
    #[serde(flatten)]
    members: Members,
}

impl Report for Changed {
    fn to_text(&self, colour: bool) -> String {
        format!("{}\n\n{}", self.done, self.members.to_text(colour))
    }
}

/// Runs the command.
///
/// # Errors
/// If no leader is found, or it refuses the change.
pub async fn run(context: &Context, args: MembersArgs) -> Result<()> {
    let cluster = Cluster::new(context)?;
    let (done, members) = match args.command {
        MembersCommand::List => {
            context.printer.print(&cluster.list().await?);
            return Ok(());
        }
        MembersCommand::Add { id } => {
            let members = cluster.list().await?;
            if members.members.iter().any(|member| member.id == id && member.voter) {
                bail!("replica {id} is a member; if it lost its data directory, use: bazaar members replace {id}");
            }
            (format!("replica {id} is a member and votes"), cluster.take_in(id).await?)
        }
        MembersCommand::Replace { id } => {
            cluster.must_be_joining(id).await?;
            (format!("replica {id} is back, as a new member, and votes"), cluster.take_in(id).await?)
        }
        MembersCommand::Remove { id } => {
            cluster.must_be_member(id).await?;
            let members = cluster.step(&MemberChange::Remove { id }).await?;
            (
                format!(
                    "replica {id} is no member any more; stop it, and empty its directory before it is added again"
                ),
                members,
            )
        }
    };
    context.printer.print(&Changed { done, members });
    Ok(())
}

struct Cluster {
    config: ClusterConfig,
    replicas: Vec<Replica>,
}

impl Cluster {
    fn new(context: &Context) -> Result<Self> {
        let config = context.cluster()?;
        let caller = context.frontend.caller();
        let replicas = config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect();
        Ok(Self { config, replicas })
    }

    /// The members, as the leader knows them; as any replica does, if there is no leader.
    async fn list(&self) -> Result<Members> {
        if let Some(leader) = self.leader().await
            && let Ok(members) = leader.members().await
        {
            return Ok(members);
        }
        for replica in &self.replicas {
            if let Ok(members) = replica.members().await {
                return Ok(members);
            }
        }
        let why = "no replica of the configuration tells who the members are; look at 'bazaar status'";
        bail!(Ending::new(Exit::Unavailable, why))
    }

    async fn leader(&self) -> Option<&Replica> {
        for replica in self.replicas.iter().rev() {
            if replica.health().await.is_ok_and(|health| health.role == Role::Leader && health.ready) {
                return Some(replica);
            }
        }
        None
    }

    fn configured(&self, id: ReplicaId) -> Result<(&ReplicaConfig, &Replica)> {
        let config = configured(&self.config, id).context("add the replica to the configuration first")?;
        let replica = self.replicas.iter().find(|replica| replica.id == id).context("every replica has its client")?;
        Ok((config, replica))
    }

    async fn must_be_member(&self, id: ReplicaId) -> Result<()> {
        if !self.list().await?.members.iter().any(|member| member.id == id) {
            bail!(Ending::new(Exit::Refused, format!("replica {id} is no member; see: bazaar members list")));
        }
        Ok(())
    }

    /// A replica that still has its directory would be a second one beside the new member.
    async fn must_be_joining(&self, id: ReplicaId) -> Result<()> {
        let (_, replica) = self.configured(id)?;
        let members = self.list().await?;
        if !members.members.iter().any(|member| member.id == id) {
            bail!("replica {id} is no member; use: bazaar members add {id}");
        }
        let health = replica.health().await;
        let health = health.with_context(|| format!("start replica {id} with an empty data directory first"))?;
        // A replacement that was cut off goes on where it was: the new life belongs to the cluster, and has no vote yet.
        if matches!(health.role, Role::Joining | Role::Learner) {
            return Ok(());
        }
        bail!("replica {id} has its data directory and needs no replacement; stop it and empty the directory first")
    }

    async fn take_in(&self, id: ReplicaId) -> Result<Members> {
        let (config, _) = self.configured(id)?;
        let add = MemberChange::Add {
            id,
            service: config.service.to_string(),
            peers: config.peers.to_string(),
            admin: config.admin.to_string(),
        };
        self.step(&add).await?;
        self.wait_caught_up(id).await?;
        self.step(&MemberChange::Promote { id }).await
    }

    async fn wait_caught_up(&self, id: ReplicaId) -> Result<()> {
        let began = Instant::now();
        let mut told = began;
        loop {
            let members = self.list().await?;
            let newest = members.members.iter().rfind(|member| member.id == id && !member.voter);
            let lag = newest.and_then(|member: &MemberView| member.lag);
            if newest.is_none() || lag.is_some_and(|lag| lag <= LAG_ENTRIES_MAX) {
                return Ok(());
            }
            if began.elapsed() > CATCH_UP_TIMEOUT {
                let why = "has not caught up in an hour; it stays a learner, repeat the command to go on";
                bail!(Ending::new(Exit::Unavailable, format!("replica {id} {why}")));
            }
            if told.elapsed() > TELL_EVERY {
                terminal::print_note(&format!("replica {id} catches up: it lacks {} log entries", or_dash(lag)));
                told = Instant::now();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Has the leader carry out a step, over elections and other changes that are under way.
    async fn step(&self, change: &MemberChange) -> Result<Members> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let why = match self.leader().await {
                None => "no replica of the configuration leads".to_owned(),
                Some(leader) => match leader.change_members(change).await {
                    Ok(members) => return Ok(members),
                    Err(failure) if !passes_by_itself(&failure) => bail!(failure),
                    Err(failure) => failure.to_string(),
                },
            };
            if Instant::now() >= deadline {
                let sentence = format!("the membership could not be changed: {why}; look at 'bazaar members list'");
                bail!(Ending::new(Exit::Unavailable, sentence));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn passes_by_itself(failure: &Failure) -> bool {
    match failure {
        Failure::Answered { error, .. } => matches!(
            error.kind,
            ErrorKind::NotLeader | ErrorKind::NoLeader | ErrorKind::NoQuorum | ErrorKind::MembershipBusy
        ),
        Failure::Refused | Failure::Timeout | Failure::Broken(_) => true,
        Failure::Foreign { .. } | Failure::Untrusted(_) => false,
    }
}
