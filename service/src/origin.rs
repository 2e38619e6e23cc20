//! Where a piece of work comes from: the request that asked for it, and the trace that it is part of.

use std::future::Future;

use crate::{
    http::RequestId,
    traces::{Span, TracePoint},
};

tokio::task_local! {
    static CURRENT: Origin;
}

/// What goes along with a piece of work through all hops.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The request's id.
    pub id: RequestId,
    /// Where its trace stands; none for nearly all requests.
    pub trace: Option<TracePoint>,
}

impl Origin {
    /// Of a request that is in no trace.
    pub fn of(id: RequestId) -> Self {
        Self { id, trace: None }
    }

    /// The origin of what this task does, if it serves a request.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Where the trace of this task's request stands.
    pub(crate) fn current_trace() -> Option<TracePoint> {
        CURRENT.try_with(|origin| origin.trace.clone()).ok().flatten()
    }

    /// Runs `work` on behalf of this origin.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// The origin of works that travel on together: the first one's id, and how many others there are. The span, if
    /// there is one, is the part of their traces that they share.
    pub fn shared(first: &Self, others: usize, span: Option<&Span>) -> Self {
        Self { id: first.id.shared_with(others), trace: span.map(Span::point) }
    }

    /// The same origin within a span, if there is one.
    #[must_use]
    pub fn within(self, span: Option<&Span>) -> Self {
        match span {
            Some(span) => Self { trace: Some(span.point()), ..self },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, RequestId};

    fn origin(id: &'static str) -> Origin {
        Origin::of(RequestId(axum::http::HeaderValue::from_static(id)))
    }

    #[test]
    fn works_travel_under_the_first_id_and_the_number_of_others() {
        assert_eq!(Origin::shared(&origin("a"), 2, None).id.as_str(), "a+2");
        assert_eq!(Origin::shared(&origin("a"), 0, None).id.as_str(), "a");
    }

    #[tokio::test]
    async fn a_task_knows_its_origin_only_within_the_scope() {
        assert!(Origin::current().is_none());
        let seen = origin("a").scope(async { Origin::current() }).await;
        assert_eq!(seen.unwrap().id.as_str(), "a");
    }
}
