//! `bazaar ready`: whether a process can serve, as an exit code, for health checks and for scripts that wait.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::{
    Context, admin,
    api::is_http,
    cli::WAIT_S_MAX,
    exit::{Ending, Exit},
    output::Report,
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The arguments of `bazaar ready`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bazaar ready\n  bazaar ready http://127.0.0.1:16006\n  \
                        bazaar ready http://10.0.0.2:8087 --wait-s 60")]
pub struct ReadyArgs {
    /// The process: any HTTP listener of a frontend, the catalog or a replica [default: the frontend].
    #[arg(value_name = "URL", env = "BAZAAR_READY_URL")]
    process: Option<String>,
    /// How long to wait until it is ready, in seconds.
    #[arg(long, env = "BAZAAR_READY_WAIT_S", value_name = "SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=WAIT_S_MAX))]
    wait_s: u64,
}

#[derive(Debug, Serialize)]
struct ReadyReport {
    url: String,
    ready: bool,
}

impl Report for ReadyReport {
    fn to_text(&self, _colour: bool) -> String {
        format!("{} is ready", self.url)
    }
}

/// Runs the command.
///
/// # Errors
/// If the process is not ready in time; the message has its reason.
pub async fn run(context: &Context, args: ReadyArgs) -> Result<()> {
    let url = args.process.as_deref().unwrap_or(context.frontend.url()).trim_end_matches('/').to_owned();
    if !is_http(&url) {
        bail!(Ending::new(Exit::Usage, format!("'{url}' is no address of a process; give it as http://host:port")));
    }
    let deadline = Instant::now() + Duration::from_secs(args.wait_s);
    loop {
        match admin::ready(context.frontend.caller(), &url).await {
            Ok(()) => break,
            Err(failure) if Instant::now() >= deadline => {
                bail!(Ending::new(Exit::from(&failure), format!("{url} is not ready: {failure}")))
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    context.printer.print(&ReadyReport { url, ready: true });
    Ok(())
}
