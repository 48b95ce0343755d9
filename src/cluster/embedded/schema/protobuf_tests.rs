//! Protobuf bodies: what real programs have sent, every kind there and back,
//! and bytes that are no message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use serde_json::{Map, Value, json};

use super::normal_form::{MICRO_TIME, TIME};
use super::table::{Field, ObjectType, Place, Type, object_type, object_types};
use super::{FieldValidation, Format, decode, decode_as, named, root};
use crate::cluster::embedded::kinds;
use crate::cluster::embedded::wire::Message;
use crate::model::kind;

/// A body as client-go writes it.
fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut of = Message::default();
    of.bytes(1, api_version.as_bytes());
    of.bytes(2, kind.as_bytes());
    let mut envelope = Message::default();
    envelope.message(1, &of);
    envelope.bytes(2, message);
    envelope.bytes(3, b"");
    envelope.bytes(4, b"");
    [b"k8s\0".to_vec(), envelope.into_bytes()].concat()
}

/// The message of an object in normal form.
fn message(object: &Map<String, Value>, of: &ObjectType) -> Message {
    let mut message = Message::default();
    let mut embedded: Vec<(u32, Message)> = Vec::new();
    for field in &of.fields {
        let (Some(value), Some(Place { embedded: inside, number })) =
            (object.get(field.name), field.place)
        else {
            continue;
        };
        let place = match inside {
            None => &mut message,
            Some(inside) => {
                if embedded.last().is_none_or(|(last, _)| *last != inside) {
                    embedded.push((inside, Message::default()));
                }
                &mut embedded.last_mut().expect("just pushed").1
            }
        };
        write(place, number, &field.of, value);
    }
    for (number, inner) in embedded {
        message.message(number, &inner);
    }
    message
}

fn write(into: &mut Message, number: u32, of: &Type, value: &Value) {
    match (of, value) {
        (_, Value::Null) => {}
        (Type::List(item), Value::Array(list)) => {
            list.iter().for_each(|value| write(into, number, item, value));
        }
        (Type::Map(item), Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Message::default();
                entry.bytes(1, key.as_bytes());
                match **item {
                    // A list has a message of its own in a map.
                    Type::List(_) => {
                        let mut items = Message::default();
                        write(&mut items, 1, item, value);
                        entry.message(2, &items);
                    }
                    _ => write(&mut entry, 2, item, value),
                }
                into.message(number, &entry);
            }
        }
        (Type::Bool, Value::Bool(flag)) => into.varint(number, u64::from(*flag)),
        (Type::Int32 | Type::Int64, Value::Number(n)) => {
            into.varint(number, n.as_i64().expect("a whole number") as u64);
        }
        (of, value) => into.bytes(number, &content(of, value)),
    }
}

fn content(of: &Type, value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let mut inner = Message::default();
    match of {
        Type::Text => return text.into(),
        Type::Bytes => return STANDARD.decode(text).expect("base64"),
        Type::Quantity => inner.bytes(1, text.as_bytes()),
        Type::Any => inner.bytes(1, value.to_string().as_bytes()),
        Type::Time | Type::MicroTime => {
            let moment: Timestamp = text.parse().expect("a time");
            inner.varint(1, moment.as_second() as u64);
            inner.varint(2, moment.subsec_nanosecond() as u64);
        }
        Type::IntOrString => {
            inner.varint(1, value.is_string().into());
            inner.varint(2, value.as_i64().unwrap_or_default() as u64);
            inner.bytes(3, text.as_bytes());
        }
        Type::Object(index) => {
            return message(value.as_object().expect("an object"), object_type(*index))
                .into_bytes();
        }
        Type::Bool | Type::Int32 | Type::Int64 | Type::List(_) | Type::Map(_) => {
            unreachable!("written by the caller")
        }
    }
    inner.into_bytes()
}

/// Any value of a type, as a JSON body would have it.
fn any_of(of: &Type, depth: usize) -> BoxedStrategy<Value> {
    let text = "[a-z%\u{e9}]{0,5}";
    let moment = -60_000_000_000_i64..=250_000_000_000;
    match of {
        Type::Text => text.prop_map(Value::from).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Int32 => any::<i32>().prop_map(Value::from).boxed(),
        Type::Int64 => any::<i64>().prop_map(Value::from).boxed(),
        Type::Bytes => any::<Vec<u8>>().prop_map(|bytes| STANDARD.encode(bytes).into()).boxed(),
        Type::Quantity => (any::<i16>(), prop::sample::select(vec!["", "Gi", "m", "k", "e3"]))
            .prop_map(|(n, suffix)| format!("{n}{suffix}").into())
            .boxed(),
        Type::Time => moment.prop_map(|second| time(second, 0, TIME)).boxed(),
        Type::MicroTime => (moment, 0..1_000_000)
            .prop_map(|(second, micro)| time(second, micro * 1000, MICRO_TIME))
            .boxed(),
        Type::IntOrString => {
            prop_oneof![any::<i32>().prop_map(Value::from), text.prop_map(Value::from)].boxed()
        }
        Type::Any => Just(json!({"f:spec": {"f:x": {}, ".": [1, "2", null]}})).boxed(),
        Type::Object(index) => any_object(object_type(*index), depth).boxed(),
        Type::List(item) => {
            prop::collection::vec(any_of(item, depth), 1..3).prop_map(Value::from).boxed()
        }
        Type::Map(item) => prop::collection::btree_map("[a-z]{1,3}", any_of(item, depth), 1..3)
            .prop_map(|map| Map::from_iter(map).into())
            .boxed(),
    }
}

fn time(second: i64, nanosecond: i32, form: &str) -> Value {
    let moment = Timestamp::new(second, nanosecond).expect("a time");
    moment.strftime(form).to_string().into()
}

/// Any object of a type but for its own type, which the envelope says.
fn any_object(of: &'static ObjectType, depth: usize) -> BoxedStrategy<Value> {
    if depth == 0 {
        return Just(json!({})).boxed();
    }
    let fields: Vec<_> = of.fields.iter().filter(|field| field.place.is_some()).collect();
    let count = 0..=fields.len();
    let fields = prop::sample::subsequence(fields, count);
    fields
        .prop_flat_map(move |fields| {
            let of_field = |field: &'static Field| {
                any_of(&field.of, depth - 1).prop_map(|value| (field.name.to_owned(), value))
            };
            fields.into_iter().map(of_field).collect::<Vec<_>>()
        })
        .prop_map(|fields| Map::from_iter(fields).into())
        .boxed()
}

/// Any type that a body may have as a whole.
fn any_body_type() -> impl Strategy<Value = &'static ObjectType> {
    let others = ["core.v1.Binding", "policy.v1.Eviction", "autoscaling.v1.Scale"]
        .into_iter()
        .chain(["meta.v1.DeleteOptions", "meta.v1.Status", "authorization.v1.SubjectAccessReview"])
        .filter_map(named);
    let rows = kinds::ALL.iter().chain(kinds::OUTSIDE);
    let types: Vec<_> = rows.filter_map(|row| root(row.names)).chain(others).collect();
    prop::sample::select(types)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_object_is_the_same_in_protobuf_as_in_json(
        (of, object) in any_body_type().prop_flat_map(|of| (Just(of), any_object(of, 5)))
    ) {
        let from_json = decode_as(of, object.to_string().as_bytes(), Format::Json);
        let from_json = from_json.expect("the values fit the type");
        let fields = from_json.as_object().expect("an object");
        let message = message(fields, of).into_bytes();
        let from_protobuf = decode_as(of, &body("", "", &message), Format::Protobuf)
            .expect("the message fits the type");
        prop_assert_eq!(from_protobuf, from_json, "{}", of.full_name());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        of in any_body_type(),
        noise: Vec<u8>,
        object in any_body_type().prop_flat_map(|of| any_object(of, 3)),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let _ = decode_as(of, &noise, Format::Protobuf);
        let _ = decode_as(of, &[b"k8s\0", noise.as_slice()].concat(), Format::Protobuf);
        let _ = decode_as(of, &body("v1", of.name, &noise), Format::Protobuf);
        // A message of another type, cut off and damaged.
        let mut bytes = body("v1", of.name, object.to_string().as_bytes());
        if let Ok(Value::Object(fields)) = decode_as(of, object.to_string().as_bytes(), Format::Json) {
            bytes = body("v1", of.name, &message(&fields, of).into_bytes());
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        let _ = decode_as(of, &bytes, Format::Protobuf);
    }
}

#[test]
fn types_do_not_contain_themselves_so_that_messages_end() {
    fn depth(of: &ObjectType, above: &mut Vec<String>) {
        assert!(!above.contains(&of.full_name()), "{} in {above:?}", of.full_name());
        above.push(of.full_name());
        of.fields.iter().for_each(|field| inner(&field.of, above));
        above.pop();
    }
    fn inner(of: &Type, above: &mut Vec<String>) {
        match of {
            Type::List(item) | Type::Map(item) => inner(item, above),
            Type::Object(index) => depth(object_type(*index), above),
            _ => {}
        }
    }
    object_types().iter().for_each(|of| depth(of, &mut Vec::new()));
}

#[track_caller]
fn refused(bytes: &[u8], message: &str) {
    let error = decode(kind::NAMESPACE, bytes, Format::Protobuf, FieldValidation::Strict)
        .expect_err("it is refused");
    assert_eq!((error.code, error.reason, error.message.as_str()), (400, "BadRequest", message));
}

#[test]
fn what_is_no_protobuf_is_refused_in_the_server_s_words() {
    let unrecognised = "the object provided is unrecognized (must be of type Namespace)";
    refused(b"", &format!("{unrecognised}: empty data (<empty>)"));
    refused(b"k8s\0", &format!("{unrecognised}: empty body (6b387300)"));
    refused(
        br#"{"kind": 1}"#,
        &format!(
            "{unrecognised}: provided data does not appear to be a protobuf message, expected \
             prefix [107 56 115 0] ({{\"kind\": 1}})"
        ),
    );
    refused(b"k8s\0\x0a\x05v1", &format!("{unrecognised}: unexpected EOF (6b3873000a057631)"));
    let cannot = "Namespace in version \"v1\" cannot be handled as a Namespace";
    refused(
        &body("v1", "Namespace", b"\x08\x01"),
        &format!("{cannot}: proto: wrong wireType = 0 for field Metadata"),
    );
    refused(&body("v1", "Namespace", b"\x0a\x05x"), &format!("{cannot}: unexpected EOF"));
    refused(
        &body("apps/v1", "Namespace", b""),
        "the API version in the data (apps/v1) does not match the expected API version (v1)",
    );
    refused(
        &body("v1", "Nothing", b""),
        "Nothing in version \"v1\" cannot be handled as a Namespace: no kind \"Nothing\" is \
         registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
    );
}

#[test]
fn unknown_fields_are_passed_over_even_where_they_would_be_refused_in_json() {
    let mut unknown = Message::default();
    unknown.bytes(900, b"of a newer client");
    unknown.varint(901, 1);
    let bytes = body("v1", "Namespace", &unknown.into_bytes());
    let decoded = decode(kind::NAMESPACE, &bytes, Format::Protobuf, FieldValidation::Strict)
        .expect("it decodes");
    assert!(decoded.warnings.is_empty());
    assert_eq!(
        decoded.object,
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {}, "spec": {}, "status": {}})
    );
}

#[test]
fn a_message_that_comes_in_parts_is_all_of_them() {
    let claim = named("core.v1.PersistentVolumeClaim").expect("a type");
    let part = |object: Value| message(object.as_object().expect("an object"), claim).into_bytes();
    let parts = [
        part(json!({"metadata": {"name": "a", "finalizers": ["x"]}})),
        part(json!({"metadata": {"name": "b", "finalizers": ["y"]}})),
    ];
    let decoded = decode_as(claim, &body("v1", claim.name, &parts.concat()), Format::Protobuf);
    assert_eq!(
        decoded.expect("it decodes")["metadata"],
        json!({"name": "b", "finalizers": ["x", "y"]})
    );
}

#[test]
fn times_that_say_nothing_are_not_there() {
    let of = named("meta.v1.ObjectMeta").expect("a type");
    let mut go_zero = Message::default();
    go_zero.varint(1, -62_135_596_800_i64 as u64);
    let mut later = Message::default();
    later.varint(1, 1_767_225_600);
    later.varint(2, 5);
    let mut too_late = Message::default();
    too_late.varint(1, i64::MAX as u64);
    for (moment, expected) in [
        (Message::default(), Ok(json!({}))),
        (go_zero, Ok(json!({}))),
        (later, Ok(json!({"creationTimestamp": "2026-01-01T00:00:00Z"}))),
        (too_late, Err("Time.MarshalJSON: year outside of range [0,9999]".to_owned())),
    ] {
        let mut meta = Message::default();
        meta.message(8, &moment);
        let decoded = decode_as(of, &body("v1", "", &meta.into_bytes()), Format::Protobuf);
        assert_eq!(decoded, expected);
    }
}

#[test]
fn numbers_may_be_packed() {
    let of = named("core.v1.LinuxContainerUser").expect("a type");
    let mut user = Message::default();
    user.varint(1, 1);
    user.bytes(3, &[5, 0x80, 1]);
    user.varint(3, 7);
    let decoded = decode_as(of, &body("v1", "", &user.into_bytes()), Format::Protobuf);
    assert_eq!(
        decoded.expect("it decodes"),
        json!({"uid": 1, "gid": 0, "supplementalGroups": [5, 128, 7]})
    );
}
