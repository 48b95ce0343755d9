//! Answers, before and as they go out.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::{Frame, SizeHint};
use serde_json::Value;

use crate::cluster::embedded::negotiate::Encoding;
use crate::cluster::embedded::status::ApiError;

/// Bodies above this are compressed for those who ask.
const GZIP_FROM_BYTES: usize = 128 * 1024;

/// An answer's content, before it is encoded as asked.
pub enum Content {
    /// One JSON document.
    Json(Bytes),
    Text(String),
    /// JSON documents, one a line, as they come.
    Events(BoxStream<'static, Bytes>),
    Nothing,
}

/// An answer, not yet encoded.
pub struct Reply {
    pub code: u16,
    pub content: Content,
    /// Instead of `application/json`.
    pub content_type: Option<&'static str>,
    pub warnings: Vec<String>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub fn json(code: u16, body: impl Into<Bytes>) -> Self {
        Self::new(code, Content::Json(body.into()))
    }

    pub fn value(code: u16, body: &Value) -> Self {
        Self::json(code, body.to_string())
    }

    pub fn text(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, Content::Text(text.into()))
    }

    pub fn events(events: BoxStream<'static, Bytes>) -> Self {
        Self::new(200, Content::Events(events))
    }

    pub fn new(code: u16, content: Content) -> Self {
        Self { code, content, content_type: None, warnings: Vec::new(), headers: Vec::new() }
    }

    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Encodes the answer as the client asked.
    pub fn into_response(self, encoding: Encoding) -> Response<ReplyBody> {
        let mut response = Response::builder().status(self.code);
        for warning in &self.warnings {
            response = response.header(header::WARNING, warning_header(warning));
        }
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let json = self.content_type.unwrap_or("application/json");
        let (content_type, body) = match self.content {
            Content::Json(json_bytes) if encoding.yaml => {
                ("application/yaml", ReplyBody::from(yaml(&json_bytes)))
            }
            Content::Json(json_bytes) if encoding.pretty => (json, pretty(&json_bytes).into()),
            Content::Json(json_bytes) => (json, json_bytes.into()),
            Content::Text(text) => ("text/plain; charset=utf-8", Bytes::from(text).into()),
            Content::Events(events) => (json, ReplyBody::Stream(events)),
            Content::Nothing => (json, Bytes::new().into()),
        };
        response = response.header(header::CONTENT_TYPE, content_type);
        let body = match body {
            ReplyBody::Once(Some(bytes)) if encoding.gzip && bytes.len() > GZIP_FROM_BYTES => {
                response = response.header(header::CONTENT_ENCODING, "gzip");
                ReplyBody::from(gzip(&bytes))
            }
            body => body,
        };
        // Only header values we made stand here; they are valid.
        response.body(body).unwrap_or_else(|_| {
            let mut failed = Response::new(ReplyBody::from(Bytes::new()));
            *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            failed
        })
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut reply = Self::value(error.code, &error.body());
        let after = error.details.as_ref().and_then(|d| d["retryAfterSeconds"].as_u64());
        if let Some(seconds) = after {
            reply.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        reply
    }
}

fn warning_header(text: &str) -> HeaderValue {
    let mut quoted = String::from("299 - \"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    HeaderValue::from_bytes(quoted.as_bytes())
        .unwrap_or(HeaderValue::from_static("299 - \"unreadable warning\""))
}

fn pretty(json: &[u8]) -> Bytes {
    match serde_json::from_slice::<Value>(json).and_then(|v| serde_json::to_string_pretty(&v)) {
        Ok(mut text) => {
            text.push('\n');
            text.into()
        }
        Err(_) => Bytes::copy_from_slice(json),
    }
}

fn yaml(json: &[u8]) -> Bytes {
    let options = serde_yaml::ser_options! { folded_wrap_chars: usize::MAX };
    let text = serde_json::from_slice::<Value>(json)
        .ok()
        .and_then(|value| serde_yaml::to_string_with_options(&value, options).ok());
    // JSON is YAML: what cannot be written nicely is still right.
    text.map_or_else(|| Bytes::copy_from_slice(json), Bytes::from)
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// The body of an answer: whole, or a stream of events.
pub enum ReplyBody {
    Once(Option<Bytes>),
    Stream(BoxStream<'static, Bytes>),
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self::Once((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Once(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(events) => {
                Pin::new(events).poll_next(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Once(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Once(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
