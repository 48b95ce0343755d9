//! Failures as the API states them: `Status` bodies and field errors.

use std::fmt;

use serde_json::{Value, json};

/// A refusal: everything that goes into a `Status` body.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    pub code: u16,
    /// `NotFound`, `Invalid`, …; empty in the few answers that have none.
    pub reason: &'static str,
    pub message: String,
    /// The `details` object, if there is one.
    pub details: Option<Value>,
    /// The `metadata` object, where it says anything (how a list goes on).
    pub list_meta: Option<Value>,
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, list_meta: None }
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    #[must_use]
    pub fn with_list_meta(mut self, meta: Value) -> Self {
        self.list_meta = Some(meta);
        self
    }

    /// The `Status` object.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message,
        });
        if let Some(meta) = &self.list_meta {
            body["metadata"] = meta.clone();
        }
        if !self.reason.is_empty() {
            body["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body["code"] = self.code.into();
        body
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// Why one field was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Invalid,
    NotSupported,
    NotFound,
    Forbidden,
    Duplicate,
    TooLong,
    TooMany,
    TypeInvalid,
}

impl FieldErrorKind {
    /// The cause's `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// How the message begins.
    pub fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::TypeInvalid => "Invalid value",
        }
    }

    /// Whether the message shows the bad value.
    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong)
    }
}

/// One refused field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// `spec.capacity[storage]`.
    pub path: String,
    pub kind: FieldErrorKind,
    pub value: Value,
    pub detail: String,
}

impl FieldError {
    /// The cause's message: the error without its path.
    pub fn text(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if self.kind.shows_value() {
            text.push_str(": ");
            text.push_str(&self.value.to_string());
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text())
    }
}

/// The refused fields of one object, in the order they were found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    pub fn required(&mut self, path: impl Into<String>, detail: impl Into<String>) {
        self.push(path, FieldErrorKind::Required, Value::Null, detail);
    }

    pub fn invalid(
        &mut self,
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        self.push(path, FieldErrorKind::Invalid, value, detail);
    }

    pub fn forbidden(&mut self, path: impl Into<String>, detail: impl Into<String>) {
        self.push(path, FieldErrorKind::Forbidden, Value::Null, detail);
    }

    /// `supported` in the order the message shows: sorted.
    pub fn not_supported(
        &mut self,
        path: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) {
        let mut supported = supported.to_vec();
        supported.sort_unstable();
        self.not_among(path, value, &supported);
    }

    /// `supported` in the order given, where the server does not sort.
    pub fn not_among(
        &mut self,
        path: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) {
        let supported: Vec<_> = supported.iter().map(|value| format!("\"{value}\"")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        self.push(path, FieldErrorKind::NotSupported, value, detail);
    }

    pub fn push(
        &mut self,
        path: impl Into<String>,
        kind: FieldErrorKind,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        self.0.push(FieldError {
            path: path.into(),
            kind,
            value: value.into(),
            detail: detail.into(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// 422 `Invalid`. `kind` is qualified with its group where it has one
    /// (`StatefulSet.apps`) in the message only.
    pub fn into_error(self, group: &str, kind: &str, name: &str) -> ApiError {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut texts: Vec<String> = Vec::new();
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let summary = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = self
            .0
            .iter()
            .map(|error| {
                json!({"reason": error.kind.reason(), "message": error.text(), "field": error.path})
            })
            .collect();
        let mut details = json!({});
        for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
            if !text.is_empty() {
                details[key] = text.into();
            }
        }
        details["causes"] = causes.into();
        ApiError::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {summary}"))
            .with_details(details)
    }
}
