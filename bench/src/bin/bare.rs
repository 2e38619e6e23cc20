//! `bare`: a web server with nothing behind it. It answers with the bytes that the frontend once answered with, so that
//! the frontend can be compared with what its web framework costs alone.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use axum::serve::ListenerExt;
use axum::{Router, http::HeaderMap, routing::get};
use bazaar_bench::bazaar::recorded::{Recorded, RecordedAnswer};
use bytes::Bytes;
use clap::Parser;
use tokio::net::TcpListener;

/// Answers with the bytes that the frontend once answered with.
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The recorded answers.
    #[arg(long)]
    answers: PathBuf,
}

/// As many threads as the frontend has.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let recorded: Recorded = serde_json::from_slice(&fs::read(&args.answers)?).context("no recorded answers")?;
    let [list, stock] = [&recorded.list, &recorded.stock].map(parts);
    let (list, stock) = (list?, stock?);
    let routes = Router::new()
        .route("/stocks", get(move || async move { list }))
        .route("/stocks/{name}", get(move || async move { stock }));
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("{} is taken", args.listen))?;
    // As the frontend does it.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, routes).await?)
}

fn parts(answer: &RecordedAnswer) -> Result<(HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        headers.insert(name.parse::<http::HeaderName>()?, value.parse()?);
    }
    Ok((headers, Bytes::from(answer.body.clone())))
}
