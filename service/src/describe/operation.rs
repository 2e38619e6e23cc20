//! What is said of a route.

use std::collections::BTreeMap;

use bazaar_domain::ErrorKind;
use utoipa::openapi::{
    Deprecated, Ref, Required, ResponseBuilder,
    path::{self, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
};

use super::{
    Body,
    failures::Failures,
    headers,
    schemas::{Described, Named},
};

/// A route's description. Whatever route it is, it says that the path refuses other methods, malformed requests and too
/// large headers, and that a fault is possible.
pub struct Operation {
    builder: OperationBuilder,
    answers: BTreeMap<u16, (String, Vec<Body>)>,
    /// On an answer that is no error, and on an error.
    headers: [Vec<&'static str>; 2],
    failures: Failures,
    /// What the body of a request refers to.
    named: Named,
}

impl Operation {
    /// An operation of a name, in a group, with one line about it.
    pub fn new(id: &str, group: &str, summary: &str) -> Self {
        // Whether a token or a certificate is asked for is the configuration's choice.
        let refusals = [ErrorKind::Unauthenticated, ErrorKind::Forbidden];
        let kinds =
            [ErrorKind::InvalidRequest, ErrorKind::MethodNotAllowed, ErrorKind::HeaderTooLarge, ErrorKind::Internal];
        let kinds = refusals.into_iter().chain(kinds).collect();
        Self {
            builder: OperationBuilder::new().operation_id(Some(id)).tag(group).summary(Some(summary)),
            answers: BTreeMap::new(),
            headers: [vec!["X-Request-Id"], vec!["X-Request-Id"]],
            failures: Failures { kinds, ..Failures::default() },
            named: Named::default(),
        }
    }

    /// More about it.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        self.builder = self.builder.description(Some(text));
        self
    }

    /// It is an older form of another one.
    #[must_use]
    pub fn deprecated(mut self) -> Self {
        self.builder = self.builder.deprecated(Some(Deprecated::True));
        self
    }

    /// A part of the path.
    #[must_use]
    pub fn path(self, name: &str, about: &str, schema: impl Into<Described>) -> Self {
        self.parameter(of(name, about, schema).parameter_in(ParameterIn::Path).required(Required::True))
    }

    /// A parameter of the query that may be left out.
    #[must_use]
    pub fn query(self, name: &str, about: &str, schema: impl Into<Described>) -> Self {
        self.parameter(of(name, about, schema).parameter_in(ParameterIn::Query).required(Required::False))
    }

    /// A parameter of the query that may be left out, of an older form.
    #[must_use]
    pub fn older_query(self, name: &str, about: &str, schema: impl Into<Described>) -> Self {
        let parameter = of(name, about, schema).parameter_in(ParameterIn::Query).required(Required::False);
        self.parameter(parameter.deprecated(Some(Deprecated::True)))
    }

    /// A parameter of the query that has to be there.
    #[must_use]
    pub fn required_query(self, name: &str, about: &str, schema: impl Into<Described>) -> Self {
        self.parameter(of(name, about, schema).parameter_in(ParameterIn::Query).required(Required::True))
    }

    /// A header of the request that may be left out.
    #[must_use]
    pub fn header(self, name: &str, about: &str, schema: impl Into<Described>) -> Self {
        self.parameter(of(name, about, schema).parameter_in(ParameterIn::Header).required(Required::False))
    }

    /// The header `Idempotency-Key` of the request.
    #[must_use]
    pub fn key_header(self, about: &str) -> Self {
        self.header("Idempotency-Key", about, headers::key())
    }

    fn parameter(mut self, parameter: ParameterBuilder) -> Self {
        self.builder = self.builder.parameter(parameter);
        self
    }

    /// The bodies that a request may have, one of which must be there.
    #[must_use]
    pub fn takes(mut self, bodies: impl IntoIterator<Item = Body>) -> Self {
        let mut request = RequestBodyBuilder::new().required(Some(Required::True));
        for body in bodies {
            self.named.0.extend(body.named.0.clone());
            request = request.content(body.media_type, body.into_content());
        }
        self.builder = self.builder.request_body(Some(request.build()));
        self.fails(&[ErrorKind::RequestTimeout, ErrorKind::PayloadTooLarge, ErrorKind::UnsupportedMediaType])
    }

    /// The answer when all went well.
    #[must_use]
    pub fn answers(self, about: &str, body: Body) -> Self {
        self.answers_with(200, about, [body])
    }

    /// The answer with this status, in one of several media types, or without a body.
    #[must_use]
    pub fn answers_with(mut self, status: u16, about: &str, bodies: impl IntoIterator<Item = Body>) -> Self {
        self.answers.insert(status, (about.to_owned(), bodies.into_iter().collect()));
        self
    }

    /// Headers that an answer may have that is no error.
    #[must_use]
    pub fn with_headers(mut self, names: &[&'static str]) -> Self {
        self.headers[0].extend(names);
        self
    }

    /// Headers that an error may have.
    #[must_use]
    pub fn with_headers_of_failures(mut self, names: &[&'static str]) -> Self {
        self.headers[1].extend(names);
        self
    }

    /// Errors that it answers with.
    #[must_use]
    pub fn fails(mut self, kinds: &[ErrorKind]) -> Self {
        self.failures.kinds.extend(kinds);
        self
    }

    /// Errors say what became of a trade.
    #[must_use]
    pub fn tells_outcomes(mut self) -> Self {
        self.failures.has_outcome = true;
        self
    }

    /// Errors with one of these statuses may have another form.
    #[must_use]
    pub fn fails_also_as(mut self, statuses: &'static [u16], body: Body) -> Self {
        self.failures.other_form = Some((statuses, body));
        self
    }

    /// The operation in the words of OpenAPI; the schemas that it refers to go to `named`.
    pub(super) fn build_into(mut self, named: &mut Named) -> path::Operation {
        named.0.extend(self.named.0);
        let [headers, failure_headers] = &self.headers;
        for (status, (about, bodies)) in self.answers {
            bodies.iter().for_each(|body| named.0.extend(body.named.0.clone()));
            self.builder = self.builder.response(status.to_string(), response(about, bodies, headers));
        }
        for (status, failed) in self.failures.by_status() {
            failed.bodies.iter().for_each(|body| named.0.extend(body.named.0.clone()));
            let mut headers = failure_headers.clone();
            headers.extend((status == 503).then_some("Retry-After"));
            headers.extend((status == 405).then_some("Allow"));
            headers.extend((status == 401).then_some("WWW-Authenticate"));
            self.builder = self.builder.response(status.to_string(), response(failed.about, failed.bodies, &headers));
        }
        self.builder.build()
    }
}

fn of(name: &str, about: &str, schema: impl Into<Described>) -> ParameterBuilder {
    ParameterBuilder::new().name(name).description(Some(about)).schema(Some(schema))
}

fn response(about: String, bodies: Vec<Body>, headers: &[&'static str]) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(about);
    let response = bodies.into_iter().fold(response, |response, body| {
        let media_type = body.media_type;
        response.content(media_type, body.into_content())
    });
    headers
        .iter()
        .fold(response, |response, name| response.header_ref(*name, Ref::new(format!("#/components/headers/{name}"))))
}
