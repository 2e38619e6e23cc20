//! Routes together with their description.

use axum::{Router, handler::Handler, http::header, routing};
use bytes::Bytes;
use utoipa::openapi::{HttpMethod, Info, OpenApiBuilder, Paths, info::LicenseBuilder, schema::ComponentsBuilder};

use super::{
    Body, Operation, headers,
    schemas::{Named, free, object, text},
};
use crate::http;

/// Whose routes they are.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The title of the description.
    pub title: &'static str,
    /// What to know before reading on.
    pub text: &'static str,
}

/// The routes of a listener, with what is said of each.
pub struct Routes<S = ()> {
    router: Router<S>,
    paths: Paths,
    named: Named,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), paths: Paths::new(), named: Named::default() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Takes a route for `GET`.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(mut self, path: &str, operation: Operation, handler: H) -> Self {
        self.router = self.router.route(path, routing::get(handler));
        self.described(HttpMethod::Get, path, operation)
    }

    /// Takes a route for `POST`.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(mut self, path: &str, operation: Operation, handler: H) -> Self {
        self.router = self.router.route(path, routing::post(handler));
        self.described(HttpMethod::Post, path, operation)
    }

    fn described(mut self, method: HttpMethod, path: &str, operation: Operation) -> Self {
        // What the router takes for the rest of a path is one parameter like others to those who read the description.
        let path = path.replace("{*", "{");
        let operation = operation.build_into(&mut self.named);
        self.paths.add_path_operation(path, vec![method], operation);
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<S2>(self, state: S) -> Routes<S2> {
        Routes { router: self.router.with_state(state), paths: self.paths, named: self.named }
    }

    /// Puts something around the routes that are here now, such as a check of who asks.
    #[must_use]
    pub fn wrapped(self, wrap: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        Self { router: wrap(self.router), paths: self.paths, named: self.named }
    }

    /// Takes other routes.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.named.0.extend(other.named.0);
        self.paths.merge(other.paths);
        self
    }
}

impl Routes {
    /// `GET /livez`: the process runs and answers.
    #[must_use]
    pub fn with_liveness(mut self) -> Self {
        self.router = self.router.merge(http::liveness());
        self.described(HttpMethod::Get, "/livez", livez())
    }

    /// `GET /livez` and `GET /metrics`, for admin listeners; `measure` is called whenever somebody asks for the metrics.
    #[must_use]
    pub fn with_liveness_and_metrics_of(mut self, measure: impl Fn() + Clone + Send + Sync + 'static) -> Self {
        self.router = self.router.merge(http::liveness_and_metrics_of(measure));
        self.described(HttpMethod::Get, "/livez", livez()).described(HttpMethod::Get, "/metrics", metrics())
    }

    /// The router, which also shows the description of all this at `GET /openapi.json`.
    pub fn into_router(self, about: About) -> Router {
        let described = self.described(HttpMethod::Get, "/openapi.json", openapi());
        let document = described.document(about);
        let handler = async move || ([(header::CONTENT_TYPE, "application/json")], document);
        described.router.route("/openapi.json", routing::get(handler))
    }

    fn document(&self, about: About) -> Bytes {
        let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
        let mut info = Info::new(about.title, env!("CARGO_PKG_VERSION"));
        info.description = Some(about.text.to_owned());
        info.license = Some(license.build());
        let components = ComponentsBuilder::new().schemas_from_iter(self.named.0.clone());
        let components = headers::all().into_iter().fold(components, |all, (name, header)| all.header(name, header));
        let document =
            OpenApiBuilder::new().info(info).paths(self.paths.clone()).components(Some(components.build())).build();
        serde_json::to_vec(&document).expect("a description is plain JSON").into()
    }
}

fn livez() -> Operation {
    Operation::new("livez", "probes", "Whether the process runs")
        .about("It never depends on Raft, on the catalog or on anything else outside of the process.")
        .answers("It does.", Body::line("ok"))
}

fn metrics() -> Operation {
    let lines = Body::new("text/plain; version=0.0.4", text());
    Operation::new("metrics", "probes", "Metrics in the form of Prometheus").answers("The metrics.", lines)
}

fn openapi() -> Operation {
    let [openapi, info, paths, components] = [text(), free(), free(), free()].map(Into::into);
    let document = object([("openapi", openapi), ("info", info), ("paths", paths), ("components", components)]);
    Operation::new("openapi", "description", "This description")
        .about("In the form of OpenAPI 3.1.")
        .answers("The description.", Body::json_like(document))
}
