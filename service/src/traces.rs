//! OpenTelemetry traces, if a collector is given: off otherwise, and then nothing here costs more than one look.
//!
//! Only requests that are chosen have spans, and only these carry `traceparent` on. What begins a trace is the frontend's
//! public listener; all others go on with what they are told. A request that carries the work of many goes on with the
//! trace of the first one that has one, and is linked with the others.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use opentelemetry::{
    KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanData, SpanExporter},
};
use tokio::runtime::Handle;

use crate::{meters::TRACE_EXPORT_FAILURES, tls};

/// The W3C header in which a trace travels.
pub const TRACEPARENT: &str = "traceparent";
/// Other works that a shared span is linked with, at most.
const LINKS_MAX: usize = 32;
/// How long the collector may take to answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the spans that are left may take to be sent when the process stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Where a trace stands: the span that what comes next belongs under.
#[derive(Clone)]
pub struct TracePoint(SpanContext);

impl TracePoint {
    /// Reads a `traceparent` header; `None` if it is not one, if its sender did not choose the request, or if traces are
    /// off here.
    pub(crate) fn read(header: &[u8]) -> Option<Self> {
        TRACER.get()?;
        Self::parse(std::str::from_utf8(header).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_known =
            version == "00" && parts.next().is_none() && (trace.len(), span.len(), flags.len()) == (32, 16, 2);
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        (is_known && context.is_valid() && context.is_sampled()).then_some(Self(context))
    }

    /// The `traceparent` header that goes on from here.
    pub fn header(&self) -> String {
        format!("00-{}-{}-01", self.0.trace_id(), self.0.span_id())
    }

    /// The trace's id, for log lines.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }
}

impl fmt::Debug for TracePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.header())
    }
}

/// A span of a trace that was chosen. It ends when it is dropped.
pub struct Span(SdkSpan);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point().fmt(f)
    }
}

impl Span {
    /// Begins a trace, if this request is among those that are chosen.
    pub(crate) fn begin(name: &'static str) -> Option<Self> {
        TRACER.get()?;
        Self::start(builder(name, SpanKind::Server), &opentelemetry::Context::new())
    }

    /// The part of a trace that serves a request which came from elsewhere.
    pub(crate) fn serve(name: &'static str, from: &TracePoint) -> Option<Self> {
        Self::under(builder(name, SpanKind::Server), from)
    }

    /// A part of the first of these traces, linked with the others; none if there are none.
    pub fn part(name: &'static str, of: impl IntoIterator<Item = TracePoint>) -> Option<Self> {
        Self::of_kind(name, SpanKind::Internal, of)
    }

    /// The same for a call to another process.
    pub fn call(name: &'static str, of: impl IntoIterator<Item = TracePoint>) -> Option<Self> {
        Self::of_kind(name, SpanKind::Client, of)
    }

    fn of_kind(name: &'static str, kind: SpanKind, of: impl IntoIterator<Item = TracePoint>) -> Option<Self> {
        TRACER.get()?;
        let mut of = of.into_iter();
        let first = of.next()?;
        let links = of.take(LINKS_MAX).map(|other| Link::with_context(other.0)).collect();
        Self::under(builder(name, kind).with_links(links), &first)
    }

    /// Notes a part of a trace that took from `since` until now, and went on in a span that is shared with others.
    pub fn note(name: &'static str, of: &TracePoint, since: Duration, went_on_in: Option<&TracePoint>) {
        let links = went_on_in.map(|shared| Link::with_context(shared.0.clone())).into_iter().collect();
        let began = SystemTime::now() - since;
        drop(Self::under(builder(name, SpanKind::Internal).with_start_time(began).with_links(links), of));
    }

    fn under(span: SpanBuilder, parent: &TracePoint) -> Option<Self> {
        Self::start(span, &opentelemetry::Context::new().with_remote_span_context(parent.0.clone()))
    }

    fn start(span: SpanBuilder, parent: &opentelemetry::Context) -> Option<Self> {
        let span = span.start_with_context(TRACER.get()?, parent);
        span.span_context().is_sampled().then_some(Self(span))
    }

    /// Where the trace stands within this span.
    pub fn point(&self) -> TracePoint {
        TracePoint(self.0.span_context().clone())
    }

    /// Says more about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// It ended in an error.
    pub fn fail(&mut self, why: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.set_status(Status::error(why));
    }
}

fn builder(name: &'static str, kind: SpanKind) -> SpanBuilder {
    SpanBuilder::from_name(name).with_kind(kind)
}

/// What sends the spans; to be stopped at the end, or the last ones are lost.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to trace: spans go to the collector at `endpoint` (without the path `/v1/traces`), and of requests that
    /// come without a trace the part `ratio` is chosen.
    ///
    /// # Errors
    /// If the endpoint or the ratio cannot be right.
    pub(crate) fn start(endpoint: &str, ratio: f64) -> Result<Self> {
        ensure!((0.0..=1.0).contains(&ratio), "the ratio of traced requests is 0 to 1, not {ratio}");
        let client = tls::http_client().timeout(EXPORT_TIMEOUT).build().context("no HTTP client for traces")?;
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = OtlpExporter::builder().with_http().with_http_client(client).with_protocol(Protocol::HttpBinary);
        let exporter = exporter.with_endpoint(url).with_timeout(EXPORT_TIMEOUT).build();
        let exporter = exporter.with_context(|| format!("'{endpoint}' is no address of a collector"))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(OnRuntime { exporter: Arc::new(exporter), runtime: Handle::current() })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(Resource::builder().with_service_name(process_name()).build())
            .build();
        let _ = TRACER.set(provider.tracer("bazaar"));
        tracing::info!(endpoint, ratio, "requests are traced");
        Ok(Self(provider))
    }

    /// Sends what is left, for a short time.
    pub(crate) async fn stop(self) {
        // Away from the runtime's only thread, which does the sending.
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT));
        match tokio::time::timeout(FLUSH_TIMEOUT, stopping).await {
            Ok(Ok(Ok(()))) => {}
            failed => tracing::warn!(?failed, "the last spans may not have been sent"),
        }
    }
}

/// The service that the spans are of: `OTEL_SERVICE_NAME`, or else the binary's name.
fn process_name() -> String {
    let of_binary = || Some(std::env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned());
    std::env::var("OTEL_SERVICE_NAME").ok().or_else(of_binary).unwrap_or_else(|| "bazaar".to_owned())
}

/// Spans are gathered on a thread of OpenTelemetry's own; the HTTP client needs the runtime.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<OtlpExporter>,
    runtime: Handle,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = Arc::clone(&self.exporter);
        let sent = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        let result = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        if let Err(error) = &result {
            TRACE_EXPORT_FAILURES.counter().increment(1);
            tracing::debug!(%error, "the collector did not take spans");
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TracePoint;

    #[test]
    fn a_traceparent_is_read_and_written_again() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TracePoint::parse(header).unwrap().header(), header);
    }

    #[test]
    fn what_is_no_traceparent_or_was_not_chosen_begins_nothing() {
        let broken = [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
        ];
        for text in broken {
            assert!(TracePoint::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn without_a_collector_nothing_is_read() {
        assert!(TracePoint::read(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_none());
    }
}
