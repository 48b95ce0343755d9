//! Which form and encoding an answer takes, from `Accept` and the query.

use http::{HeaderMap, header};

use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::status::ApiError;
use serde_json::json;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encoding {
    pub yaml: bool,
    pub pretty: bool,
    pub gzip: bool,
}

/// What is said about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object itself.
    Object,
    /// `kubectl get`'s columns.
    Table(Include),
    /// Metadata only.
    Metadata,
    /// Discovery of all groups in one document.
    Aggregated(&'static str),
}

/// What a Table row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    Metadata,
    Object,
    Nothing,
}

/// What an endpoint can answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// One object or a write's outcome.
    Object,
    /// A list; can be watched.
    List,
    /// `/api` and `/apis`.
    Discovery,
    /// JSON only: reviews, legacy discovery, versions.
    Plain,
}

/// The outcome: form and encoding.
#[derive(Debug, Clone, Copy)]
pub struct Media {
    pub form: Form,
    pub encoding: Encoding,
}

/// One clause of an `Accept` header.
#[derive(Debug)]
struct Clause<'a> {
    media: &'a str,
    quality: f32,
    group: &'a str,
    version: &'a str,
    as_kind: &'a str,
}

/// Chooses form and encoding; 406 if none of what is accepted is offered.
pub fn negotiate(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Media, ApiError> {
    let mut encoding = Encoding {
        yaml: false,
        pretty: query.flag("pretty"),
        gzip: header_text(headers, header::ACCEPT_ENCODING).contains("gzip"),
    };
    let accept = header_text(headers, header::ACCEPT);
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(clause).collect();
    if clauses.is_empty() {
        return Ok(Media { form: Form::Object, encoding });
    }
    // Stable: equal qualities keep their order.
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    for clause in &clauses {
        let yaml = match clause.media {
            "*/*" | "application/*" | "application/json" => false,
            "application/yaml" => true,
            _ => continue,
        };
        if let Some(form) = form(clause, query, offer) {
            encoding.yaml = yaml;
            return Ok(Media { form, encoding });
        }
    }
    Err(not_acceptable(offer))
}

/// The encoding for an answer that must be given whatever was accepted: errors.
pub fn encoding_of_errors(headers: &HeaderMap, query: &Query) -> Encoding {
    negotiate(headers, query, Offer::Object).map(|media| media.encoding).unwrap_or_default()
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let values: Vec<_> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| !media.is_empty())?;
    let mut clause = Clause { media, quality: 1.0, group: "", version: "", as_kind: "" };
    for part in parts {
        match part.split_once('=') {
            Some(("q", quality)) => clause.quality = quality.parse().unwrap_or(0.0),
            Some(("g", group)) => clause.group = group,
            Some(("v", version)) => clause.version = version,
            Some(("as", kind)) => clause.as_kind = kind,
            _ => {}
        }
    }
    (clause.quality > 0.0).then_some(clause)
}

fn form(clause: &Clause<'_>, query: &Query, offer: Offer) -> Option<Form> {
    let meta = clause.group == "meta.k8s.io" && matches!(clause.version, "v1" | "v1beta1");
    match (clause.as_kind, offer) {
        ("", _) => Some(Form::Object),
        ("Table", Offer::Object | Offer::List) if meta => {
            let include = match query.get("includeObject") {
                Some("Object") => Include::Object,
                Some("None") => Include::Nothing,
                _ => Include::Metadata,
            };
            Some(Form::Table(include))
        }
        ("PartialObjectMetadata", Offer::Object | Offer::List) if meta => Some(Form::Metadata),
        ("PartialObjectMetadataList", Offer::List) if meta => Some(Form::Metadata),
        ("APIGroupDiscoveryList", Offer::Discovery) if clause.group == "apidiscovery.k8s.io" => {
            match clause.version {
                "v2" => Some(Form::Aggregated("v2")),
                "v2beta1" => Some(Form::Aggregated("v2beta1")),
                _ => None,
            }
        }
        _ => None,
    }
}

fn not_acceptable(offer: Offer) -> ApiError {
    let mut types =
        vec!["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    if offer == Offer::List {
        types.extend([
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf;stream=watch",
        ]);
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", types.join(", "));
    ApiError::new(406, "NotAcceptable", message).with_details(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, offer: Offer, form: Option<Form>, yaml: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header"));
        let media = negotiate(&headers, &Query::parse(""), offer);
        match form {
            Some(form) => {
                let media = media.expect("acceptable");
                assert_eq!((media.form, media.encoding.yaml), (form, yaml), "{accept}");
            }
            None => assert_eq!(media.expect_err(accept).code, 406),
        }
    }

    #[test]
    fn the_best_clause_that_is_offered_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        check(table, Offer::List, Some(Form::Table(Include::Metadata)), false);
        check(table, Offer::Plain, Some(Form::Object), false);
        check("*/*", Offer::List, Some(Form::Object), false);
        check("application/json;q=0.5, application/yaml", Offer::List, Some(Form::Object), true);
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            Offer::Object,
            Some(Form::Object),
            false,
        );
        check("text/html", Offer::List, None, false);
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer",
            Offer::Discovery,
            Some(Form::Aggregated("v2")),
            false,
        );
    }
}
