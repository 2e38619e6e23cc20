//! The order replica's process.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use bazaar_order_raft::{Listeners, Options, run};
use bazaar_service::{CommonArgs, bind, start::main_with};
use clap::Parser;

/// Worker threads: three replicas share a machine in the smallest setup.
const WORKER_THREADS: usize = 2;

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
    /// Where it takes trades and reads.
    #[arg(long, env = "BAZAAR_ORDER_SERVICE", value_name = "ADDRESS")]
    service: Option<SocketAddr>,
    /// Where it takes Raft's messages.
    #[arg(long, env = "BAZAAR_ORDER_PEERS", value_name = "ADDRESS")]
    peers: Option<SocketAddr>,
    /// Where it can be looked into.
    #[arg(long, env = "BAZAAR_ORDER_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Starts a new cluster of this name together with the other replicas of the configuration. Without it a replica
    /// with an empty data directory waits to be added to a cluster.
    #[arg(long, env = "BAZAAR_ORDER_BOOTSTRAP", value_name = "CLUSTER")]
    bootstrap: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let common = args.common.clone();
    main_with(&common, WORKER_THREADS, async |shutdown| {
        let mut config = args.common.load_config()?;
        let id = args.id;
        config.replica(id)?;
        let own = config.replicas.iter_mut().find(|replica| replica.id == id).expect("checked above");
        own.service = args.service.unwrap_or(own.service);
        own.peers = args.peers.unwrap_or(own.peers);
        own.admin = args.admin.unwrap_or(own.admin);
        let listeners = Listeners {
            service: bind(own.service, &format!("replica {id}'s service listener")).await?,
            peers: bind(own.peers, &format!("replica {id}'s peer listener")).await?,
            admin: bind(own.admin, &format!("replica {id}'s admin listener")).await?,
        };
        let data = args.data.unwrap_or_else(|| PathBuf::from(format!("data/replica-{id}")));
        run(listeners, Arc::new(config), Options { id, data, bootstrap: args.bootstrap }, shutdown).await
    })
}
