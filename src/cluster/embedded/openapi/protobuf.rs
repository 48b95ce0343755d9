//! The second version as protobuf, in the messages of `openapi.v2`, written
//! from its JSON.
//!
//! Only the messages and fields that our document has are known; whatever
//! begins with `x-` becomes a vendor extension with its value as YAML.

use serde_json::Value;

use crate::cluster::embedded::wire::Message;

/// The kinds of content that the document has.
impl Message {
    fn text(&mut self, number: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u32, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.text(number, value);
        }
    }

    fn flag(&mut self, number: u32, value: &Value) {
        if value == true {
            self.varint(number, 1);
        }
    }

    /// Entries of a map as pairs of name and value.
    fn named(&mut self, number: u32, map: &Value, value: fn(&Value) -> Message) {
        for (name, entry) in map.as_object().into_iter().flatten() {
            let mut pair = Message::default();
            pair.bytes(1, name.as_bytes());
            pair.message(2, &value(entry));
            self.message(number, &pair);
        }
    }

    /// Everything that begins with `x-`.
    fn extensions(&mut self, number: u32, object: &Value) {
        for (name, value) in object.as_object().into_iter().flatten() {
            if name.starts_with("x-") {
                let mut any = Message::default();
                // JSON is YAML.
                any.bytes(2, value.to_string().as_bytes());
                let mut pair = Message::default();
                pair.bytes(1, name.as_bytes());
                pair.message(2, &any);
                self.message(number, &pair);
            }
        }
    }
}

/// The whole document.
pub fn document(document: &Value) -> Vec<u8> {
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    let mut paths = Message::default();
    paths.named(2, &document["paths"], path_item);
    let mut definitions = Message::default();
    definitions.named(1, &document["definitions"], schema);
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    message.message(2, &info);
    message.message(8, &paths);
    message.message(9, &definitions);
    message.into_bytes()
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if item[method].is_object() {
            message.message(number, &operation(&item[method]));
        }
    }
    for parameter in item["parameters"].as_array().into_iter().flatten() {
        message.message(9, &parameter_item(parameter));
    }
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        message.message(8, &parameter_item(parameter));
    }
    let mut responses = Message::default();
    responses.named(1, &operation["responses"], response);
    message.message(9, &responses);
    message.extensions(13, operation);
    message
}

/// `ParametersItem` around `Parameter` around the parameter of its place.
fn parameter_item(parameter: &Value) -> Message {
    let mut inner = Message::default();
    let in_body = parameter["in"] == "body";
    if in_body {
        let mut body = Message::default();
        body.text(2, &parameter["name"]);
        body.text(3, &parameter["in"]);
        body.flag(4, &parameter["required"]);
        body.message(5, &schema(&parameter["schema"]));
        inner.message(1, &body);
    } else {
        let in_path = parameter["in"] == "path";
        let mut placed = Message::default();
        placed.flag(1, &parameter["required"]);
        placed.text(2, &parameter["in"]);
        placed.text(3, &parameter["description"]);
        placed.text(4, &parameter["name"]);
        // A query parameter may be empty, which takes one number more.
        placed.text(if in_path { 5 } else { 6 }, &parameter["type"]);
        let mut non_body = Message::default();
        non_body.message(if in_path { 4 } else { 3 }, &placed);
        inner.message(2, &non_body);
    }
    let mut item = Message::default();
    item.message(1, &inner);
    item
}

fn response(response: &Value) -> Message {
    let mut inner = Message::default();
    inner.text(1, &response["description"]);
    let mut item = Message::default();
    item.message(1, &schema(&response["schema"]));
    inner.message(2, &item);
    let mut value = Message::default();
    value.message(1, &inner);
    value
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema["$ref"]);
    message.text(2, &schema["format"]);
    message.text(4, &schema["description"]);
    message.texts(19, &schema["required"]);
    if schema["additionalProperties"].is_object() {
        let mut item = Message::default();
        item.message(1, &self::schema(&schema["additionalProperties"]));
        message.message(21, &item);
    }
    if schema["type"].is_string() {
        let mut kind = Message::default();
        kind.text(1, &schema["type"]);
        message.message(22, &kind);
    }
    if schema["items"].is_object() {
        let mut items = Message::default();
        items.message(1, &self::schema(&schema["items"]));
        message.message(23, &items);
    }
    if schema["properties"].is_object() {
        let mut properties = Message::default();
        properties.named(1, &schema["properties"], self::schema);
        message.message(25, &properties);
    }
    message.extensions(31, schema);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_written_by_the_numbers_of_its_fields() {
        let message = schema(&json!({"type": "string", "format": "byte"}));
        assert_eq!(message.into_bytes(), b"\x12\x04byte\xb2\x01\x08\x0a\x06string");
    }
}
