//! Counts the answers of the public listener.

use std::sync::Arc;

use axum::{Router, extract::Request, middleware, middleware::Next, response::Response};
use bazaar_domain::ApiError;
use metrics::Counter;

use super::App;
use crate::meters::{ANSWERS, FAILURES};

/// One counter for each class of status. There is no 1xx: the server answers none of its own.
pub(crate) struct Answers([Counter; 4]);

impl Answers {
    pub(crate) fn new() -> Self {
        Self(["2xx", "3xx", "4xx", "5xx"].map(|class| ANSWERS.counter_of(&[class])))
    }

    /// Counts an answer, and its kind if it is an error.
    pub(crate) fn count(&self, response: &Response) {
        let class = usize::from(response.status().as_u16() / 100);
        if let Some(counter) = class.checked_sub(2).and_then(|class| self.0.get(class)) {
            counter.increment(1);
        }
        if let Some(error) = response.extensions().get::<ApiError>() {
            FAILURES.counter_of(&[error.kind.as_str()]).increment(1);
        }
    }
}

/// Counts whatever these routes answer.
pub(super) fn counted(routes: Router, app: Arc<App>) -> Router {
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let app = Arc::clone(&app);
        async move {
            let response = next.run(request).await;
            app.answers.count(&response);
            response
        }
    }))
}
