//! Notices.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use retention_core::control::NoticeTested;

use super::super::answer::blocking;
use super::super::error::ApiError;
use super::super::input::Argument;
use super::Shared;

pub(crate) async fn test(
    State(control): State<Shared>,
    Argument(channel): Argument<String>,
) -> Result<Json<NoticeTested>, ApiError> {
    let works = Arc::clone(&control.works);
    blocking(move || works.test_channel(&channel).map(Json).map_err(ApiError)).await
}
