//! Query strings.

use std::borrow::Cow;

/// The decoded parameters of a request, in order.
#[derive(Debug, Default, Clone)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string; a leading `&` (kube-rs sends `?&`) is harmless.
    pub fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self { pairs }
    }

    /// The first value of a parameter; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A truth value as the API reads it: given, and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// A truth value that may be absent.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !matches!(value, "false" | "0"))
    }
}

/// Decodes the percent signs of one path segment.
pub fn percent_decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = segment.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_do_not_count() {
        let query = Query::parse("&limit=5&labelSelector=a%3D1,b+in+(c)&continue=&watch=1");
        assert_eq!(query.get("limit"), Some("5"));
        assert_eq!(query.get("labelSelector"), Some("a=1,b in (c)"));
        assert_eq!(query.get("continue"), None);
        assert!(query.flag("watch"));
        assert!(!Query::parse("watch=false").flag("watch"));
    }

    #[test]
    fn path_segments_are_decoded() {
        assert_eq!(percent_decoded("system%3Anode%2"), "system:node%2");
    }
}
