//! The start of a process: arguments, configuration, logs, listeners, signals.

use std::{
    future::Future,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bazaar_domain::{Address, config::ClusterConfig};
use clap::{Args, ValueEnum};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    http::metrics_handle,
    remarks::{SLOW_REQUEST_MS_DEFAULT, set_slow_ms},
    security::{self, SecurityArgs},
    traces::Traces,
};

/// Open files and sockets that a process asks the system for.
const OPEN_FILES_WANTED: u64 = 65_536;

/// Short, so that each upkeep is: it sums up what was recorded since the last one.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_millis(500);

/// The arguments that all processes share. A flag wins over its environment variable, that over the file.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// The cluster's configuration file.
    #[arg(long, env = "BAZAAR_CONFIG", default_value = "config/cluster.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// How log lines are written to standard error.
    #[arg(long, env = "BAZAAR_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Requests that take this long or longer get a log line, in milliseconds; 0 switches that off.
    #[arg(long, env = "BAZAAR_SLOW_REQUEST_MS", default_value_t = SLOW_REQUEST_MS_DEFAULT, value_name = "MS")]
    pub slow_request_ms: u64,
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`. Without it there are no traces.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Which part of the requests is traced, 0 to 1, of those that come without a trace of their own.
    #[arg(long, env = "BAZAAR_TRACE_RATIO", default_value_t = 0.01, value_name = "RATIO")]
    pub trace_ratio: f64,
    /// Which log lines are written, e.g. `info` or `warn,bazaar_order_raft=debug`.
    #[arg(long, env = "BAZAAR_LOG", default_value = "info,openraft=error", value_name = "FILTER")]
    pub log: String,
    /// TLS, tokens, and whether to do without.
    #[command(flatten)]
    pub security: SecurityArgs,
}

/// The forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl CommonArgs {
    /// Reads the configuration file.
    ///
    /// # Errors
    /// If it cannot be read or is wrong; the message names the file.
    pub fn load_config(&self) -> Result<ClusterConfig> {
        let text = read_config_file(&self.config)?;
        let mut config = ClusterConfig::parse(&text)
            .with_context(|| format!("the configuration {} is wrong", self.config.display()))?;
        self.security.apply(&mut config, |file| self.beside_config(file))?;
        Ok(config)
    }

    /// A path of the configuration, which is meant from the configuration file's folder.
    pub fn beside_config(&self, path: &str) -> PathBuf {
        self.config.parent().unwrap_or(Path::new(".")).join(path)
    }

    fn start_logs(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| format!("'{}' is no log filter", self.log))?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
        match self.log_format {
            LogFormat::Text => logs.with_target(false).init(),
            LogFormat::Json => logs.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// Reads a configuration file.
///
/// # Errors
/// If it cannot be read; the message names the file.
pub fn read_config_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("the configuration {} cannot be read", path.display()))
}

/// Binds a listener; `what` names it in the error ("the frontend's public listener").
///
/// # Errors
/// If the port is taken, the name is not known, the address is not this machine's, or others could reach it although
/// nothing protects it.
pub async fn bind(address: &Address, what: &str, config: &ClusterConfig) -> Result<TcpListener> {
    match TcpListener::bind((address.host(), address.port())).await {
        Ok(listener) => {
            security::check_exposure(&listener, what, config)?;
            Ok(listener)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "port {} is taken: {what} cannot listen on {address}; stop what uses it or give another address",
                address.port()
            )
        }
        Err(error) => Err(error).with_context(|| format!("{what} cannot listen on {address}")),
    }
}

/// Runs a process: starts the logs, then `run` on a runtime of one thread (ADR 0009) with a token that is cancelled by
/// SIGTERM or SIGINT. An error is printed as one sentence, and the exit code is 1.
pub fn main_with<F, Fut>(common: &CommonArgs, run: F) -> ExitCode
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let result = common.start_logs().and_then(|()| {
        // Sockets and database files together need more than the usual soft limit of 1,024; the hard limit bounds it.
        if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES_WANTED) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
        let runtime = Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
        runtime.block_on(async {
            let shutdown = CancellationToken::new();
            cancel_on_signal(shutdown.clone())?;
            tokio::spawn(upkeep_metrics());
            set_slow_ms(common.slow_request_ms);
            let endpoint = common.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
            let traces = endpoint.map(|endpoint| Traces::start(endpoint, common.trace_ratio)).transpose()?;
            let result = run(shutdown).await;
            if let Some(traces) = traces {
                traces.stop().await;
            }
            result
        })
    });
    exit_code(result)
}

/// What a process ends with that ended so; prints an error.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Keeps the metrics registry small: histograms are summed up now and then, even if nobody asks for them.
async fn upkeep_metrics() {
    loop {
        tokio::time::sleep(METRICS_UPKEEP_EVERY).await;
        metrics_handle().run_upkeep();
    }
}

/// Prints an error with its causes as one line on standard error.
pub fn print_error(error: &anyhow::Error) {
    let text = format!("{error:#}");
    // The last word of a process: nobody is left to hear that it cannot be written.
    let _ = writeln!(std::io::stderr(), "error: {}", text.trim().replace('\n', " "));
}

fn cancel_on_signal(shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    // Its handler stays. It has files read again (`reload`), and must not end a process that has none of them.
    drop(signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
    });
    Ok(())
}
