//! Schemas of what has no type of its own.

use std::collections::BTreeMap;

use bazaar_domain::limits::PRICE_CENTS_MAX;
use utoipa::{
    ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type},
    },
};

/// The schema of an object, to which fields can be added.
pub type Fields = ObjectBuilder;
/// The schema of a value.
pub type Described = RefOr<Schema>;

/// The named schemas that a description refers to.
#[derive(Clone, Default)]
pub struct Named(pub(super) BTreeMap<String, Described>);

impl Named {
    /// A reference to a type's schema, which is kept together with all that it refers to.
    pub(super) fn reference<T: ToSchema>(&mut self) -> Described {
        let mut nested = Vec::new();
        T::schemas(&mut nested);
        self.0.extend(nested);
        self.0.insert(T::name().into_owned(), T::schema());
        Ref::from_schema_name(T::name()).into()
    }
}

/// The schema of a type, in place.
pub fn word<T: ToSchema>() -> Described {
    T::schema()
}

/// Text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Text of a form; a regular expression says which.
pub fn text_like(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

/// One of some words.
pub fn one_word_of<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// A whole number from `least`.
pub fn whole(least: u64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least))
}

/// The same, or null.
pub fn whole_or_null(least: u64) -> ObjectBuilder {
    whole(least).schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
}

/// A whole number up to `most`.
pub fn whole_to(least: u64, most: u64) -> ObjectBuilder {
    whole(least).maximum(Some(most))
}

/// Yes or no.
pub fn yes_or_no() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// A price in a request.
pub fn price_asked() -> Described {
    let price =
        ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_u64)).maximum(Some(PRICE_CENTS_MAX / 100));
    price.multiple_of(Some(0.01)).description(Some("At most two decimals.")).into()
}

/// An object of which nothing is said.
pub fn free() -> ObjectBuilder {
    object([]).additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

/// An object that has all of these fields.
pub fn object<const N: usize>(fields: [(&str, Described); N]) -> ObjectBuilder {
    fields.into_iter().fold(ObjectBuilder::new(), |object, (name, schema)| object.property(name, schema).required(name))
}

/// The same, where other fields are refused.
pub fn closed<const N: usize>(fields: [(&str, Described); N]) -> ObjectBuilder {
    object(fields).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// A list.
pub fn list(items: impl Into<Described>) -> Described {
    ArrayBuilder::new().items(items.into()).into()
}

/// One of several.
pub fn one_of(schemas: impl IntoIterator<Item = Described>) -> Described {
    schemas.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item).into()
}

/// A schema, or null.
pub fn or_null(schema: impl Into<Described>) -> Described {
    one_of([schema.into(), ObjectBuilder::new().schema_type(Type::Null).into()])
}
