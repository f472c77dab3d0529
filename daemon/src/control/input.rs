//! Reading what callers send: path arguments, queries and bodies, each refused with a sentence that says what is wrong
//! with its form and never repeats its content.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::http::uri::Uri;
use retention_core::control::{ErrorCode, TEXT_BYTES_MAX};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The argument in a path.
#[derive(Debug)]
pub(crate) struct Argument<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Argument<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::saying(ErrorCode::BadRequest, "the name in the path has the wrong form")
                .hint("names look like E1042 (entity), P204 (plan), R210 (run), H99 (hold)")),
        }
    }
}

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parse_query(&parts.uri).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    Query::try_from_uri(uri).map(|Query(value)| value).map_err(|_| {
        ApiError::saying(ErrorCode::BadRequest, "the query names something unknown or a value has the wrong form")
            .hint("/openapi.json lists what each operation understands")
    })
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes =
            axum::body::Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::of(ErrorCode::TooLarge),
                _ => ApiError::saying(ErrorCode::BadRequest, "the body broke off"),
            })?;
        parse_body(&bytes).map(Self)
    }
}

fn parse_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ApiError::saying(ErrorCode::BadRequest, format!("the body is wrong at line {line}, column {column}"))
            .hint("/openapi.json describes the body of each operation")
    })
}

/// Checks the free text of a person.
///
/// # Errors
/// Says when it is too long or holds control characters, which could make a terminal show something else.
pub(crate) fn check_text(text: String) -> Result<String, ApiError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ApiError::saying(ErrorCode::TooLarge, format!("the text is longer than {TEXT_BYTES_MAX} bytes")));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::saying(ErrorCode::BadRequest, "the text holds control characters"));
    }
    Ok(text)
}

/// As [`check_text`], and there must be one; `what` says of what, such as "a name".
///
/// # Errors
/// Says when there is none.
pub(crate) fn check_named(text: String, what: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::saying(ErrorCode::BadRequest, format!("{what} is needed; nothing was recorded")));
    }
    check_text(text)
}

/// As [`check_text`], and there must be one.
///
/// # Errors
/// Says when there is none.
pub(crate) fn check_reason(text: String) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::saying(ErrorCode::BadRequest, "a reason is needed")
            .hint("say why, in one sentence: it is kept with the event"));
    }
    check_text(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use retention_core::control::{AuditQuery, EntityQuery, JudgePlan, ListQuery, PlaceHold, query_string};

    use super::*;

    fn uri(query: &str) -> Option<Uri> {
        format!("/v1/x{query}").parse().ok()
    }

    #[test]
    fn what_a_tool_writes_is_what_the_daemon_reads() {
        let asked: AuditQuery = serde_json::from_str(
            r#"{"after":7,"limit":3,"since":"2026-01-01T00:00:00Z","kind":"PlanApproved","actor":"uid:7","entity":"E3","run":"R9","policy":"a b&c=č","mailbox":"a+b@c&d","order":"oldest_first"}"#,
        )
        .unwrap();
        let read: AuditQuery = parse_query(&uri(&query_string(&asked)).unwrap()).unwrap();
        assert_eq!(read, asked);
        let none: AuditQuery = parse_query(&uri("").unwrap()).unwrap();
        assert_eq!(none, AuditQuery::default());
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(parse_query::<ListQuery>(&uri("?limits=3").unwrap()).is_err());
        assert!(parse_query::<EntityQuery>(&uri("?kind=person").unwrap()).is_err());
        assert!(parse_body::<JudgePlan>(b"{}").is_err());
    }

    #[test]
    fn an_error_does_not_repeat_what_was_sent() {
        let error = parse_body::<PlaceHold>(br#"{"name":"Jana","reason":17}"#).unwrap_err();
        assert!(!error.0.message.contains("Jana"), "{}", error.0.message);
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(query in "[?a-z_]{0,12}(=[%A-Za-z0-9:.&=\\-+]{0,40}){0,4}") {
            if let Some(uri) = uri(&format!("?{query}")) {
                let _ = parse_query::<AuditQuery>(&uri);
                let _ = parse_query::<EntityQuery>(&uri);
                let _ = parse_query::<ListQuery>(&uri);
            }
        }

        #[test]
        fn a_mutated_query_is_read_or_refused(at in 0usize..60, byte in 0x21u8..0x7f) {
            let mut query = b"?after=7&limit=3&since=2026-01-01&actor=uid%3A7&entity=E3&order=oldest_first".to_vec();
            query[at] = byte;
            if let Some(uri) = uri(std::str::from_utf8(&query).unwrap()) {
                let _ = parse_query::<AuditQuery>(&uri);
            }
        }

        #[test]
        fn no_body_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_body::<PlaceHold>(&bytes);
            let _ = parse_body::<JudgePlan>(&bytes);
        }
    }
}
