//! Traces: one trade's spans arrive at a collector from three processes, as one trace.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use bazaar_tests::{
    cluster::{Cluster, Name},
    wait_until,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

/// Spans, each with the service that it is of.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector that takes OTLP over HTTP.
async fn collector() -> Result<(String, Spans)> {
    let spans = Spans::default();
    let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((format!("http://{address}"), spans))
}

async fn take(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut taken = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for part in request.resource_spans {
        let attributes = part.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = text(&attributes, "service.name").unwrap_or_default();
        let spans = part.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.extend(spans.map(|span| (service.clone(), span)));
    }
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_trace(spans: &Spans, trace: &str) -> Vec<(String, Span)> {
    let spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace).cloned().collect()
}

async fn trade(cluster: &Cluster, id: &str, traceparent: Option<String>) -> Result<()> {
    let body = json!({ "name": "S1", "type": "buy", "quantity": 1 });
    let mut request = cluster.client().post(format!("{}/orders", cluster.url())).header("X-Request-Id", id).json(&body);
    if let Some(header) = traceparent {
        request = request.header("traceparent", header);
    }
    ensure!(request.send().await?.status() == StatusCode::OK, "the trade failed");
    Ok(())
}

/// Waits until the trace has spans of these names, each of a service.
async fn wait_for(spans: &Spans, trace: &str, wanted: &[(&str, &str)]) -> Result<Vec<(String, Span)>> {
    wait_until(&format!("the trace has {wanted:?}"), || async {
        let found = of_trace(spans, trace);
        let has = |(service, name): &(&str, &str)| found.iter().any(|(of, span)| of == service && span.name == *name);
        wanted.iter().all(has).then_some(found)
    })
    .await
    .with_context(|| {
        let found = of_trace(spans, trace);
        format!("it has {:?}", found.iter().map(|(service, span)| (service, &span.name)).collect::<Vec<_>>())
    })
}

#[tokio::test]
async fn one_trade_is_one_trace_over_three_processes() -> Result<()> {
    let (endpoint, spans) = collector().await?;
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}");
    // Long leases, so that the one which is seen below lasts until the trade also where the machine is busy.
    let mut cluster = Cluster::prepare("[leases]\nttl_ms = 5000")?;
    // Of requests without a trace none is chosen, so all that arrives is of the one below.
    cluster.launch_with(&[&endpoint, "BAZAAR_TRACE_RATIO=0", "OTEL_BSP_SCHEDULE_DELAY=50"]).await?;
    // Only a frontend with a lease has to be told of a trade.
    wait_until("the frontend's cache has a lease", || async {
        let answer = cluster.client().get(format!("{}/stocks/S1", cluster.url())).send().await.ok()?;
        (answer.headers().get("x-cache")? != "bypass").then_some(())
    })
    .await?;
    trade(&cluster, "untraced", None).await?;
    trade(&cluster, "traced", Some(format!("00-{TRACE}-{CLIENT_SPAN}-01"))).await?;
    let wanted = [
        ("bazaar-frontend", "request"),
        ("bazaar-frontend", "gateway"),
        ("bazaar-frontend", "call the order leader"),
        ("bazaar-order-raft", "request"),
        ("bazaar-order-raft", "propose"),
        ("bazaar-order-raft", "apply"),
        ("bazaar-order-raft", "publish"),
        ("bazaar-catalog", "request"),
        ("bazaar-catalog", "invalidate"),
    ];
    let found = wait_for(&spans, TRACE, &wanted).await?;
    let own: BTreeSet<String> = found.iter().map(|(_, span)| hex(&span.span_id)).collect();
    for (service, span) in &found {
        let parent = hex(&span.parent_span_id);
        ensure!(parent == CLIENT_SPAN || own.contains(&parent), "{service}: '{}' hangs in the air", span.name);
    }
    let ids: BTreeSet<String> = found.iter().filter_map(|(_, span)| text(&span.attributes, "request.id")).collect();
    assert_eq!(ids, BTreeSet::from(["traced".to_owned()]));
    let all = spans.lock().unwrap_or_else(PoisonError::into_inner).len();
    assert_eq!(all, of_trace(&spans, TRACE).len(), "only the one trace was chosen");
    Ok(())
}

#[tokio::test]
async fn a_trace_that_begins_here_is_sent_before_the_process_ends() -> Result<()> {
    let (endpoint, spans) = collector().await?;
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}");
    let mut cluster = Cluster::prepare("")?;
    // Nothing is sent within the life of this test, except at the end.
    cluster.launch_with(&[&endpoint, "BAZAAR_TRACE_RATIO=1", "OTEL_BSP_SCHEDULE_DELAY=3600000"]).await?;
    trade(&cluster, "chosen", None).await?;
    cluster.stop(Name::Frontend(1)).await?;
    let spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    let is_own = |span: &Span| text(&span.attributes, "request.id").as_deref() == Some("chosen");
    let root = spans.iter().find(|(_, span)| span.parent_span_id.is_empty() && is_own(span));
    let (service, root) = root.context("the trade began no trace")?;
    assert_eq!((service.as_str(), root.name.as_str()), ("bazaar-frontend", "request"));
    Ok(())
}
