//! The order replica's process.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use bazaar_domain::Address;
use bazaar_order_raft::{Listeners, Options, run};
use bazaar_service::{CommonArgs, bind, start::main_with};
use clap::Parser;

/// An order replica of the stock bazaar.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Which replica of the configuration this is.
    #[arg(long, env = "BAZAAR_ORDER_ID", value_name = "N")]
    id: u64,
    /// Its data directory; `data/replica-N` unless told.
    #[arg(long, env = "BAZAAR_ORDER_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where it listens for trades and reads, if not where the configuration says that others reach it.
    #[arg(long, env = "BAZAAR_ORDER_SERVICE", value_name = "ADDRESS")]
    service: Option<Address>,
    /// Where it listens for Raft's messages, likewise.
    #[arg(long, env = "BAZAAR_ORDER_PEERS", value_name = "ADDRESS")]
    peers: Option<Address>,
    /// Where it listens for those who look inside, likewise.
    #[arg(long, env = "BAZAAR_ORDER_ADMIN", value_name = "ADDRESS")]
    admin: Option<Address>,
    /// Starts a new cluster of this name together with the other replicas of the configuration. Without it a replica
    /// with an empty data directory waits to be added to a cluster.
    #[arg(long, env = "BAZAAR_ORDER_BOOTSTRAP", value_name = "CLUSTER")]
    bootstrap: Option<String>,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let common = args.common.clone();
    main_with(&common, async |shutdown| {
        let config = args.common.load_config()?;
        let id = args.id;
        let own = config.replica(id)?.clone();
        // The configuration says where others reach this replica, a flag where it listens: they differ behind a port
        // mapping. All replicas must name the members alike, so the flags never enter the membership.
        let service = args.service.unwrap_or(own.service);
        let peers = args.peers.unwrap_or(own.peers);
        let admin = args.admin.unwrap_or(own.admin);
        let listeners = Listeners {
            service: bind(&service, &format!("replica {id}'s service listener"), &config).await?,
            peers: bind(&peers, &format!("replica {id}'s peer listener"), &config).await?,
            admin: bind(&admin, &format!("replica {id}'s admin listener"), &config).await?,
        };
        let data = args.data.unwrap_or_else(|| PathBuf::from(format!("data/replica-{id}")));
        run(listeners, Arc::new(config), Options { id, data, bootstrap: args.bootstrap }, shutdown).await
    })
}
