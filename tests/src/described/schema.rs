//! The part of JSON Schema that our descriptions use. A keyword that is not known here is a fault, not passed over.
//!
//! Stricter than JSON Schema in one point: a field that is not described is refused, unless the schema says that others
//! may be there. Our answers say all that they hold.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::{Map, Value};

/// Keywords that allow and forbid nothing.
const REMARKS: [&str; 8] =
    ["description", "title", "format", "example", "examples", "deprecated", "contentMediaType", "default"];

/// Compiled once each: stories check many answers.
static PATTERNS: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());

/// Checks a value against a schema of a document.
///
/// # Errors
/// What does not fit, and where.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<()> {
    let schema = resolved(document, schema)?;
    let keywords = schema.as_object().context("a schema is an object")?;
    for (keyword, wanted) in keywords {
        let fits = match keyword.as_str() {
            "type" => is_of_type(wanted, value),
            "enum" => wanted.as_array().is_some_and(|words| words.contains(value)),
            "minimum" => value.as_f64().is_none_or(|number| wanted.as_f64().is_some_and(|least| number >= least)),
            "maximum" => value.as_f64().is_none_or(|number| wanted.as_f64().is_some_and(|most| number <= most)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= count(wanted)),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= count(wanted)),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= count(wanted)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= count(wanted)),
            "pattern" => value.as_str().is_none_or(|text| is_like(wanted, text)),
            "required" => has_all(wanted, value),
            "multipleOf" => is_multiple(wanted, value),
            "properties" | "additionalProperties" => true,
            "items" => check_items(document, wanted, value)?,
            "oneOf" => fitting(document, wanted, value) == 1,
            "anyOf" => fitting(document, wanted, value) > 0,
            remark if REMARKS.contains(&remark) => true,
            unknown => bail!("the keyword {unknown} is not known"),
        };
        ensure!(fits, "{value:.300} does not fit {keyword}: {wanted:.300}");
    }
    if let Some(fields) = value.as_object() {
        check_fields(document, keywords, fields)?;
    }
    Ok(())
}

/// What a reference stands for, or the value itself.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> Result<&'a Value> {
    let Some(reference) = value["$ref"].as_str() else { return Ok(value) };
    let pointer = reference.strip_prefix('#').context("a reference into this document")?;
    document.pointer(pointer).with_context(|| format!("{reference} is not there"))
}

fn count(wanted: &Value) -> u64 {
    wanted.as_u64().unwrap_or_default()
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |word: &Value| match word.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_u64() || value.is_i64(),
        _ => false,
    };
    wanted.as_array().map_or_else(|| is(wanted), |words| words.iter().any(is))
}

fn is_like(pattern: &Value, text: &str) -> bool {
    let Some(pattern) = pattern.as_str() else { return false };
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if !patterns.contains_key(pattern) {
        let Ok(compiled) = Regex::new(pattern) else { return false };
        patterns.insert(pattern.to_owned(), compiled);
    }
    patterns[pattern].is_match(text)
}

fn is_multiple(of: &Value, value: &Value) -> bool {
    let (Some(of), Some(number)) = (of.as_f64(), value.as_f64()) else { return true };
    let parts = number / of;
    (parts - parts.round()).abs() < 1e-6
}

fn has_all(required: &Value, value: &Value) -> bool {
    let names = required.as_array().into_iter().flatten().filter_map(Value::as_str);
    value.as_object().is_none_or(|fields| names.into_iter().all(|name| fields.contains_key(name)))
}

fn check_items(document: &Value, schema: &Value, value: &Value) -> Result<bool> {
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, schema, item).with_context(|| format!("item {place}"))?;
    }
    Ok(true)
}

fn fitting(document: &Value, schemas: &Value, value: &Value) -> usize {
    let schemas = schemas.as_array().into_iter().flatten();
    schemas.filter(|schema| check(document, schema, value).is_ok()).count()
}

fn check_fields(document: &Value, schema: &Map<String, Value>, fields: &Map<String, Value>) -> Result<()> {
    // What holds for the parts of an alternative is said there.
    if ["oneOf", "anyOf"].iter().any(|keyword| schema.contains_key(*keyword)) || schema.is_empty() {
        return Ok(());
    }
    for (name, value) in fields {
        let described = schema.get("properties").and_then(|properties| properties.get(name));
        match (described, schema.get("additionalProperties")) {
            (Some(described), _) => check(document, described, value).with_context(|| format!("the field {name}"))?,
            (None, Some(Value::Bool(true))) => {}
            (None, Some(others @ Value::Object(_))) => check(document, others, value)?,
            (None, _) => bail!("the field {name} is not described"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(schema: &Value, value: &Value) -> bool {
        let document = json!({"parts": {"word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}}});
        check(&document, schema, value).is_ok()
    }

    #[test]
    fn each_keyword_refuses_what_does_not_fit() {
        let word = json!({"$ref": "#/parts/word"});
        let object = json!({"type": "object", "properties": {"a": word}, "required": ["a"]});
        let cases = [
            (
                json!({"type": "integer", "minimum": 1, "maximum": 3}),
                vec![json!(1), json!(3)],
                vec![json!(0), json!(4), json!(1.5), json!("1")],
            ),
            (json!({"type": ["integer", "null"]}), vec![json!(1), json!(null)], vec![json!("")]),
            (json!({"type": "number", "multipleOf": 0.01}), vec![json!(15.99), json!(3)], vec![json!(0.001)]),
            (json!({"enum": ["a", "b"]}), vec![json!("a")], vec![json!("c")]),
            (word.clone(), vec![json!("ab")], vec![json!(""), json!("abcd"), json!("A")]),
            (
                json!({"type": "array", "items": word, "minItems": 1, "maxItems": 2}),
                vec![json!(["a"])],
                vec![json!([]), json!(["A"]), json!(["a", "b", "c"])],
            ),
            (object.clone(), vec![json!({"a": "x"})], vec![json!({}), json!({"a": "X"}), json!({"a": "x", "b": 1})]),
            (
                json!({"type": "object", "additionalProperties": {"type": "null"}}),
                vec![json!({"b": null})],
                vec![json!({"b": 1})],
            ),
            (
                json!({"oneOf": [object, {"type": "null"}, {"enum": [null, 1]}]}),
                vec![json!({"a": "x"}), json!(1)],
                vec![json!(null), json!(2)],
            ),
            (json!({"anyOf": [{"type": "null"}, {"enum": [null, 1]}]}), vec![json!(null), json!(1)], vec![json!(2)]),
            (json!({"unheard-of": 1}), vec![], vec![json!(1)]),
            (json!({"$ref": "#/parts/nothing"}), vec![], vec![json!(1)]),
        ];
        for (schema, good, bad) in cases {
            good.iter().for_each(|value| assert!(fits(&schema, value), "{value} is refused by {schema}"));
            bad.iter().for_each(|value| assert!(!fits(&schema, value), "{value} passes {schema}"));
        }
    }
}
