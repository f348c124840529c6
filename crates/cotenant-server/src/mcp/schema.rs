//! Input schemas, as short as they can be: agents pay for every byte of the tool list.

use cotenant_core::schema;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The schema of a tool's arguments.
pub(crate) fn input_schema<T: JsonSchema>() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = schema::of::<T>(settings).to_value();
    shorten(&mut schema);
    let Value::Object(mut schema) = schema else {
        return Map::new();
    };
    schema.shift_remove("description");
    schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    schema
}

/// Drops what says nothing to a model: type names, integer widths, and that an optional argument
/// may also be null.
fn shorten(schema: &mut Value) {
    let Value::Object(object) = schema else {
        return;
    };
    for word in ["title", "format", "default"] {
        object.shift_remove(word);
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|word| word != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|word| word != "null"));
        if let [Value::Object(one)] = &choices[..] {
            let one = one.clone();
            object.shift_remove("anyOf");
            for (word, value) in one {
                object.entry(word).or_insert(value);
            }
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(word) {
            shorten(inner);
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(shorten);
    }
}
