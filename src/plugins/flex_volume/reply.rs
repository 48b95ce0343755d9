//! What a driver's answer means: pure.
//!
//! | exit | printed | outcome |
//! |---|---|---|
//! | 0 | `Success` | done |
//! | any | `Not supported` | the default behaviour |
//! | any | another status | failed, with the driver's reason |
//! | not 0 | `Success` | failed: the driver contradicts itself |
//! | any | no JSON | failed |
//!
//! Errors are in the words of Go's JSON library, which a kubelet passes on.
//! Upstream: `pkg/volume/flexvolume/driver-call.go`.

use serde_json::{Map, Value};

use crate::plugins::host::Exit;
use crate::plugins::host::record::OUTPUT_MAX;

/// What a driver can do, as its `init` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverCapabilities {
    /// Its volumes are attached, and mounted once for all pods.
    pub attach: bool,
    pub selinux_relabel: bool,
    pub supports_metrics: bool,
    /// The kubelet gives the files to the pod's group.
    pub fs_group: bool,
    /// A filesystem is to be grown after its volume.
    pub requires_fs_resize: bool,
}

impl Default for DriverCapabilities {
    fn default() -> Self {
        Self {
            attach: true,
            selinux_relabel: true,
            supports_metrics: false,
            fs_group: true,
            requires_fs_resize: true,
        }
    }
}

/// What a driver answered that did what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    status: String,
    message: String,
    pub device: String,
    pub attached: bool,
    pub capabilities: DriverCapabilities,
}

/// Why a call did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// The driver leaves it to the kubelet.
    #[error("Not supported")]
    NotSupported,
    #[error("{0}")]
    Failed(String),
    /// It is not known whether it was done.
    #[error("{0}")]
    Uncertain(String),
}

/// Reads an answer.
pub fn read(command: &str, exit: Exit, printed: &str) -> Result<Reply, CallFault> {
    let reply = parse(printed).map_err(CallFault::Failed)?;
    match &*reply.status {
        "Not supported" => Err(CallFault::NotSupported),
        "Success" if exit.is_success() => Ok(reply),
        "Success" => Err(CallFault::Failed(exit.to_string())),
        status => Err(CallFault::Failed(format!(
            "{command} command failed, status: {status}, reason: {}",
            reply.message
        ))),
    }
}

fn parse(printed: &str) -> Result<Reply, String> {
    let value: Value = serde_json::from_str(printed).map_err(|error| {
        // What was cut is no JSON any more.
        if printed.len() + 4 > OUTPUT_MAX {
            return format!("the driver printed more than {OUTPUT_MAX} bytes in answer");
        }
        syntax(printed, &error)
    })?;
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other => {
            let kind = kind(&other);
            return Err(format!(
                "json: cannot unmarshal {kind} into Go value of type flexvolume.DriverStatus"
            ));
        }
    };
    let mut reply = Reply::default();
    for (name, value) in &fields {
        match &*name.to_ascii_lowercase() {
            "status" => text(&mut reply.status, "status", value)?,
            "message" => text(&mut reply.message, "message", value)?,
            "device" => text(&mut reply.device, "device", value)?,
            "volumename" => text(&mut String::new(), "volumeName", value)?,
            "attached" => flag(&mut reply.attached, "attached", value)?,
            "capabilities" => capabilities(&mut reply.capabilities, value)?,
            "volumenewsize" if !value.is_null() && value.as_i64().is_none() => {
                return Err(wrong_type("volumeNewSize", value, "int64"));
            }
            _ => {}
        }
    }
    Ok(reply)
}

fn capabilities(own: &mut DriverCapabilities, value: &Value) -> Result<(), String> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Ok(()),
        _ => return Err(wrong_type("capabilities", value, "flexvolume.DriverCapabilities")),
    };
    for (name, value) in fields {
        let (field, known) = match &*name.to_ascii_lowercase() {
            "attach" => (&mut own.attach, "attach"),
            "selinuxrelabel" => (&mut own.selinux_relabel, "selinuxRelabel"),
            "supportsmetrics" => (&mut own.supports_metrics, "supportsMetrics"),
            "fsgroup" => (&mut own.fs_group, "fsGroup"),
            "requiresfsresize" => (&mut own.requires_fs_resize, "requiresFSResize"),
            _ => continue,
        };
        flag(field, &format!("capabilities.{known}"), value)?;
    }
    Ok(())
}

fn text(own: &mut String, field: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => text.clone_into(own),
        Value::Null => {}
        _ => return Err(wrong_type(field, value, "string")),
    }
    Ok(())
}

fn flag(own: &mut bool, field: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Bool(flag) => *own = *flag,
        Value::Null => {}
        _ => return Err(wrong_type(field, value, "bool")),
    }
    Ok(())
}

fn wrong_type(field: &str, value: &Value, wanted: &str) -> String {
    let kind = kind(value);
    format!(
        "json: cannot unmarshal {kind} into Go struct field DriverStatus.{field} of type {wanted}"
    )
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go says of a text that is no JSON.
fn syntax(printed: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = printed.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let at = error.column().saturating_sub(1);
    let said = error.to_string();
    if said.starts_with("expected ident") {
        return literal(line, at);
    }
    // Go counts in bytes, as is done here.
    let found = line.as_bytes().get(at).map_or(' ', |byte| char::from(*byte));
    let found = found.escape_default();
    if said.starts_with("trailing characters") {
        return format!("invalid character '{found}' after top-level value");
    }
    if said.starts_with("key must be a string") {
        return format!("invalid character '{found}' looking for beginning of object key string");
    }
    format!("invalid character '{found}' looking for beginning of value")
}

/// A word that begins as `true`, `false` or `null` do, and goes on otherwise.
fn literal(line: &str, at: usize) -> String {
    let begins = |word: &&str| {
        let start = at.saturating_sub(word.len());
        (start..=at).rev().any(|start| {
            line.get(start..=at).is_some_and(|seen| {
                seen.len() > 1
                    && word.starts_with(&seen[..seen.len() - 1])
                    && !word.starts_with(seen)
            })
        })
    };
    let found = line.as_bytes().get(at).map_or(' ', |byte| char::from(*byte));
    let Some(word) = ["true", "false", "null"].into_iter().find(begins) else {
        return format!("invalid character '{found}' looking for beginning of value");
    };
    let length = (1..word.len())
        .find(|length| at >= *length && line.get(at - length..at) == Some(&word[..*length]))
        .unwrap_or(1);
    let expected = &word[length..=length];
    format!("invalid character '{found}' in literal {word} (expecting '{expected}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(exit: i32, printed: &str, expected: &str) {
        let told = match read("mount", Exit::Code(exit), printed) {
            Ok(_) => "done".to_owned(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(told, expected, "{printed}");
    }

    #[test]
    fn an_answer_counts_by_its_exit_code_and_its_json() {
        check(0, r#"{"status":"Success"}"#, "done");
        check(0, "\n {\"Status\": \"Success\", \"other\": [1]}\n", "done");
        check(0, r#"{"status":"Not supported"}"#, "Not supported");
        check(1, r#"{"status":"Not supported"}"#, "Not supported");
        let failed = "mount command failed, status: Failure, reason: no such share";
        check(0, r#"{"status":"Failure","message":"no such share"}"#, failed);
        check(1, r#"{"status":"Failure","message":"no such share"}"#, failed);
        check(1, r#"{"status":"Success"}"#, "exit status 1");
        check(0, "{}", "mount command failed, status: , reason: ");
        check(0, "null", "mount command failed, status: , reason: ");
        check(0, r#"{"status":"success"}"#, "mount command failed, status: success, reason: ");
    }

    #[test]
    fn what_is_no_answer_is_told_in_the_words_of_go() {
        let value = "looking for beginning of value";
        check(0, "", "unexpected end of JSON input");
        check(0, r#"{"status":"#, "unexpected end of JSON input");
        check(0, "mounted!", &format!("invalid character 'm' {value}"));
        check(0, "warning: old\n{}", &format!("invalid character 'w' {value}"));
        check(0, "not json", "invalid character 'o' in literal null (expecting 'u')");
        check(0, "{} x", "invalid character 'x' after top-level value");
        check(
            0,
            r#"{"status":"Success"}{"status":"Success"}"#,
            "invalid character '{' after top-level value",
        );
        check(0, "{status: 1}", "invalid character 's' looking for beginning of object key string");
        check(
            0,
            "[1]",
            "json: cannot unmarshal array into Go value of type flexvolume.DriverStatus",
        );
        check(
            0,
            r#"{"status":1}"#,
            "json: cannot unmarshal number into Go struct field DriverStatus.status of type string",
        );
        check(
            0,
            r#"{"status":"Success","attached":"yes"}"#,
            "json: cannot unmarshal string into Go struct field DriverStatus.attached of type bool",
        );
        check(
            0,
            r#"{"status":"Success","capabilities":{"attach":"no"}}"#,
            "json: cannot unmarshal string into Go struct field \
             DriverStatus.capabilities.attach of type bool",
        );
        let megabyte = "x".repeat(OUTPUT_MAX);
        check(0, &megabyte, "the driver printed more than 8192 bytes in answer");
    }

    #[test]
    fn missing_capabilities_keep_their_defaults() {
        let read =
            |printed: &str| read("init", Exit::Code(0), printed).expect("an answer").capabilities;
        assert_eq!(read(r#"{"status":"Success"}"#), DriverCapabilities::default());
        let told = read(
            r#"{"status":"Success","capabilities":{"attach":false,"FSGROUP":false,"other":1}}"#,
        );
        let expected =
            DriverCapabilities { attach: false, fs_group: false, ..DriverCapabilities::default() };
        assert_eq!(told, expected);
    }
}
