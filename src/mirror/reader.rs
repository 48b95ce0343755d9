//! One kind's conversation with an API server: a list page by page, a watch
//! line by line. Trusts nothing of what it is told.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::causes;
use crate::mirror::complaint::readable;
use crate::model::clock::{Clock, TimerUse};

/// Objects per page of a list: the first rows show after one page.
const PAGE: usize = 500;
/// No server keeps silent so long in the middle of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Larger answers are refused, or a garbage server could fill the memory.
const PAGE_BYTES_MAX: usize = 512 << 20;
const LINE_BYTES_MAX: usize = 32 << 20;

/// Why a server's answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the credentials were refused: {0}")]
    Unauthorized(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("not served here")]
    NotServed,
    /// The version asked for is no longer in the server's history.
    #[error("the server's history no longer reaches back far enough")]
    Gone,
    #[error("the server answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("the server does not speak the Kubernetes API: {0}")]
    Garbage(String),
}

/// One page of a list, borrowed from its bytes.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: PageMeta<'a>,
    /// `null` stands for none.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(borrow, rename = "continue", default)]
    pub(super) next: Cow<'a, str>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) message: String,
}

impl<'a> Page<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ReadError> {
        let page: Self = serde_json::from_slice(body).map_err(|error| garbage(&error, body))?;
        if page.items.is_none() && page.metadata.resource_version.is_empty() {
            return Err(ReadError::Garbage(format!("expected a list, got `{}`", start_of(body))));
        }
        Ok(page)
    }

    pub(super) fn items(&self) -> &[&'a RawValue] {
        self.items.as_deref().unwrap_or_default()
    }

    /// The version of the list as a number.
    pub(super) fn version(&self) -> Result<u64, ReadError> {
        let version = &self.metadata.resource_version;
        version.parse().map_err(|_| {
            let shown = readable(version, 40);
            ReadError::Garbage(format!("metadata.resourceVersion `{shown}` is not a number"))
        })
    }
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, ReadError> {
        serde_json::from_slice(line).map_err(|error| garbage(&error, line))
    }
}

/// Asks for pages and watches.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) client: kube::Client,
    pub(super) clock: Arc<dyn Clock>,
}

impl Reader {
    /// The bytes of one page of the collection at `path`, and how far the
    /// server's clock is ahead.
    pub(super) async fn page(&self, path: &str, next: &str) -> Result<Answer, ReadError> {
        let mut uri = format!("{path}?limit={PAGE}");
        if !next.is_empty() {
            uri.push_str("&continue=");
            uri.push_str(&percent_encoded(next));
        }
        self.get(&uri).await
    }

    /// The whole answer to a GET.
    pub(super) async fn get(&self, uri: &str) -> Result<Answer, ReadError> {
        let response = self.open(uri).await?;
        let ahead = self.server_ahead(&response);
        let body = self.collect(response.into_body(), PAGE_BYTES_MAX).await?;
        Ok(Answer { body, ahead })
    }

    /// Opens a watch of the collection at `path` from a version on.
    pub(super) async fn watch(
        &self,
        path: &str,
        version: u64,
        length: Duration,
    ) -> Result<Lines, ReadError> {
        let seconds = length.as_secs();
        let uri = format!(
            "{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}"
        );
        let response = self.open(&uri).await?;
        Ok(Lines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            clock: self.clock.clone(),
            silence_max: length + SILENCE_MAX,
        })
    }

    /// Sends a GET; the response once its status is good.
    async fn open(&self, uri: &str) -> Result<Response<Body>, ReadError> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|error| ReadError::Unreachable(format!("`{uri}`: {error}")))?;
        let response = tokio::select! {
            response = self.client.send(request) => {
                response.map_err(|error| ReadError::Unreachable(readable(&causes(&error), 300)))?
            }
            () = self.clock.sleep(SILENCE_MAX, TimerUse::Housekeeping) => {
                return Err(ReadError::Silent(SILENCE_MAX));
            }
        };
        let code = response.status();
        if code.is_success() {
            let kind = response.headers().get(header::CONTENT_TYPE);
            let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()));
            return match kind {
                Some(kind) if !kind.contains("json") => {
                    Err(ReadError::Garbage(format!("it answers with {}", readable(&kind, 60))))
                }
                _ => Ok(response),
            };
        }
        // A refusal's text helps, but its absence changes nothing.
        let body = self.collect(response.into_body(), 1 << 20).await.unwrap_or_default();
        Err(refusal(code, &body))
    }

    async fn collect(&self, mut body: Body, most: usize) -> Result<Bytes, ReadError> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = next_chunk(&mut body, &*self.clock, SILENCE_MAX).await? {
            if bytes.len() + chunk.len() > most {
                return Err(ReadError::Garbage(format!("an answer of more than {most} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// How far the server's clock is ahead of ours, where it says its time.
    fn server_ahead(&self, response: &Response<Body>) -> Option<SignedDuration> {
        let date = response.headers().get(header::DATE)?.to_str().ok()?;
        let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        let ahead = server.duration_since(self.clock.now());
        // The header tells whole seconds, cut off: less than that is no news.
        Some(if ahead.abs() <= SignedDuration::from_secs(1) { SignedDuration::ZERO } else { ahead })
    }
}

/// The whole answer to a GET.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    /// How far the server's clock is ahead, where it says its time.
    pub(super) ahead: Option<SignedDuration>,
}

/// The lines of a watch as they come.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line's end.
    searched: usize,
    clock: Arc<dyn Clock>,
    silence_max: Duration,
}

impl Lines {
    /// The next line that is not empty; `None` once the server has closed.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                let what = format!("a watch line of more than {LINE_BYTES_MAX} bytes");
                return Err(ReadError::Garbage(what));
            }
            match next_chunk(&mut self.body, &*self.clock, self.silence_max).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(self.last_line()),
            }
        }
    }
}

impl Lines {
    /// What came after the last line's end. One that was cut off is not an
    /// object and will come again; anything else the caller must see.
    fn last_line(&mut self) -> Option<Bytes> {
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&rest);
        // What is empty or cut off fails at its end.
        (!parsed.is_err_and(|error| error.is_eof())).then_some(rest)
    }
}

/// The next bytes of a body; `None` at its end.
async fn next_chunk(
    body: &mut Body,
    clock: &dyn Clock,
    silence_max: Duration,
) -> Result<Option<Bytes>, ReadError> {
    loop {
        // What is there already needs no timer.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => tokio::select! {
                frame = body.frame() => frame,
                () = clock.sleep(silence_max, TimerUse::Housekeeping) => {
                    return Err(ReadError::Silent(silence_max));
                }
            },
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(ReadError::Unreachable(readable(&causes(&error), 300))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The error that a refusing answer stands for.
fn refusal(code: StatusCode, body: &[u8]) -> ReadError {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if status.message.is_empty() {
        format!("{} {}", code.as_u16(), code.canonical_reason().unwrap_or_default())
    } else {
        readable(&status.message, 300)
    };
    match code.as_u16() {
        401 => ReadError::Unauthorized(message),
        403 => ReadError::Forbidden(message),
        404 => ReadError::NotServed,
        410 => ReadError::Gone,
        code => ReadError::Refused { code, message },
    }
}

fn garbage(error: &serde_json::Error, body: &[u8]) -> ReadError {
    ReadError::Garbage(format!("{error}, in `{}`", start_of(body)))
}

fn start_of(body: &[u8]) -> String {
    readable(&String::from_utf8_lossy(&body[..body.len().min(240)]), 60)
}

/// A query value with everything but unreserved characters encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_garbage() {
        for body in ["<html>\u{7}", "{}", "[]", "", r#"{"items": 7}"#, r#"{"kind": "Status"}"#] {
            let error = Page::parse(body.as_bytes()).expect_err(body);
            assert!(matches!(error, ReadError::Garbage(_)), "{body}: {error}");
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn page_without_items_is_an_empty_list() {
        let body = br#"{"metadata": {"resourceVersion": "12"}, "items": null}"#;
        let page = Page::parse(body).expect("a page");
        assert_eq!((page.items().len(), page.version()), (0, Ok(12)));
    }

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        let status = br#"{"kind": "Status", "message": "pods is forbidden"}"#;
        assert_eq!(
            refusal(StatusCode::FORBIDDEN, status),
            ReadError::Forbidden("pods is forbidden".into())
        );
        assert_eq!(refusal(StatusCode::GONE, b"junk"), ReadError::Gone);
        assert_eq!(
            refusal(StatusCode::BAD_GATEWAY, b"<html>").to_string(),
            "the server answered 502: 502 Bad Gateway"
        );
    }

    #[test]
    fn continue_token_is_encoded() {
        assert_eq!(percent_encoded("a+b/c=&"), "a%2Bb%2Fc%3D%26");
    }
}
