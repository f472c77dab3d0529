//! From what went wrong inside to what a caller may see.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use retention_core::control::{ErrorBody, ErrorCode};

/// An error as an HTTP answer.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) ErrorBody);

impl ApiError {
    /// The sentence of the code says enough.
    pub(crate) fn of(code: ErrorCode) -> Self {
        Self(ErrorBody::of(code))
    }

    /// An error with its own message.
    pub(crate) fn saying(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody::saying(code, message))
    }

    /// Adds what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.hint(hint))
    }
}

impl From<ErrorBody> for ApiError {
    fn from(body: ErrorBody) -> Self {
        Self(body)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}
