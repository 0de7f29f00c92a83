//! Failures of the admin door: `{"error":{"code":..,"message":..}}`.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why an admin request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminFault {
    /// The caller's: a path we do not have.
    #[error("nothing is at {0}; / lists what is here")]
    NoSuchPath(String),
    /// The caller's: everything here is read with GET.
    #[error("only GET is answered here")]
    MethodNotAllowed,
    /// The caller's: the name is not this listener's.
    #[error("this listener answers to localhost only; ask for it by that name or by its loopback address")]
    UnknownHost,
    /// The caller's: a parameter is wrong.
    #[error("{0}")]
    BadQuery(String),
    /// Ours: the answer could not be made.
    #[error("the answer could not be made; the log may say why")]
    Internal,
}

impl AdminFault {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownHost => StatusCode::FORBIDDEN,
            Self::BadQuery(_) => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPath(_) => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnknownHost => "unknown_host",
            Self::BadQuery(_) => "bad_query",
            Self::Internal => "internal_error",
        }
    }
}

impl IntoResponse for AdminFault {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code(), "message": self.to_string() } });
        (self.status(), Json(body)).into_response()
    }
}

pub(super) async fn no_such_path(uri: Uri) -> AdminFault {
    AdminFault::NoSuchPath(uri.path().to_owned())
}

pub(super) async fn method_not_allowed() -> AdminFault {
    AdminFault::MethodNotAllowed
}
