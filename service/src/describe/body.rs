//! What a request or an answer carries.

use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{Content, content::ContentBuilder, example::ExampleBuilder},
};

use bazaar_domain::codec::RECORD_MEDIA_TYPE;

use super::schemas::{self, Described, Named};

/// A body of one media type.
#[derive(Clone)]
pub struct Body {
    pub(super) media_type: &'static str,
    schema: Described,
    examples: Vec<(String, Value)>,
    pub(super) named: Named,
}

impl Body {
    /// A body of a media type.
    pub fn new(media_type: &'static str, schema: impl Into<Described>) -> Self {
        Self { media_type, schema: schema.into(), examples: Vec::new(), named: Named::default() }
    }

    /// JSON of this form.
    pub fn json_like(schema: impl Into<Described>) -> Self {
        Self::new("application/json", schema)
    }

    /// A value of a type, as JSON.
    pub fn json<T: ToSchema>() -> Self {
        let mut named = Named::default();
        let schema = named.reference::<T>();
        Self { named, ..Self::json_like(schema) }
    }

    /// `{"data": …}` around a value of a type.
    pub fn data<T: ToSchema>() -> Self {
        Self::json::<T>().wrapped(|schema| schema)
    }

    /// `{"data": […]}` around values of a type.
    pub fn list<T: ToSchema>() -> Self {
        Self::json::<T>().wrapped(schemas::list)
    }

    /// `{"data": …}` around JSON of this form.
    pub fn data_like(schema: impl Into<Described>) -> Self {
        Self::json_like(schema).wrapped(|schema| schema)
    }

    fn wrapped(mut self, inner: impl FnOnce(Described) -> Described) -> Self {
        self.schema = schemas::object([("data", inner(self.schema))]).into();
        self
    }

    /// One line of text.
    pub fn line(word: &str) -> Self {
        Self::new("text/plain; charset=utf-8", schemas::text_like(&format!("^{word}\n$")))
            .example(word, format!("{word}\n"))
    }

    /// A record of our own processes (`bazaar_domain::internal`).
    pub fn record(holds: &str) -> Self {
        let bytes = schemas::text().content_media_type("application/octet-stream");
        Self::new(RECORD_MEDIA_TYPE, bytes.description(Some(format!("A record: {holds}."))))
    }

    /// With an example.
    #[must_use]
    pub fn example(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.examples.push((name.to_owned(), value.into()));
        self
    }

    /// This one or, in the same media type, another one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        assert_eq!(self.media_type, other.media_type, "alternatives share their media type");
        self.schema = schemas::one_of([self.schema, other.schema]);
        self.examples.extend(other.examples);
        self.named.0.extend(other.named.0);
        self
    }

    pub(super) fn into_content(self) -> Content {
        let examples = self.examples.into_iter().map(|(name, value)| {
            let key = name.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
            (key, ExampleBuilder::new().summary(name).value(Some(value)))
        });
        ContentBuilder::new().schema(Some(self.schema)).examples_from_iter(examples).build()
    }
}
