//! JSON schemas of types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};

/// The whole schema of a type.
#[must_use]
pub fn of<T: JsonSchema>(settings: SchemaSettings) -> Schema {
    whole(settings.into_generator(), T::schema_name, T::json_schema)
}

/// What is the same for every type. schemars' own function, made anew for each of 130 types, is 280 KB of
/// the program (measured).
fn whole(
    mut generator: SchemaGenerator,
    name: fn() -> Cow<'static, str>,
    schema: fn(&mut SchemaGenerator) -> Schema,
) -> Schema {
    let mut schema = schema(&mut generator);
    let definitions = generator.take_definitions(false);
    let meta_schema = generator.settings().meta_schema.clone();
    let object = schema.ensure_object();
    object.entry("title").or_insert_with(|| name().into());
    if let Some(meta_schema) = meta_schema {
        object.insert("$schema".to_owned(), meta_schema.into());
    }
    if !definitions.is_empty() {
        object.insert("$defs".to_owned(), definitions.into());
    }
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema
}
