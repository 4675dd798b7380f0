//! Refusals: RFC 9457 with a stable code. docs/errors.md lists the codes.

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal. Branch on `code`; the texts are for people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where the code is described.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status again.
    status: u16,
    /// A stable word.
    code: &'static str,
    /// What happened, where, and what to do.
    detail: String,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldFault>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

/// A wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldFault {
    /// JSON pointer, such as `/payer/id`.
    pub field: String,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl Problem {
    /// A refusal with a status, a stable code and a sentence.
    #[must_use]
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Problem {
        let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
        Problem {
            kind: format!("/docs/errors#{code}"),
            title,
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// The body's fields are wrong; nothing changed.
    #[must_use]
    pub(crate) fn fields(errors: Vec<FieldFault>) -> Problem {
        let detail = format!("{} of the body's fields cannot be used; nothing changed.", errors.len());
        Problem { errors, ..Problem::new(422, "invalid_fields", detail) }
    }

    /// Try the same again after so long.
    #[must_use]
    pub(crate) fn after(mut self, seconds: u32) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The store cannot be read at the moment.
    #[must_use]
    pub(crate) fn store(error: &store::Error) -> Problem {
        tracing::error!(error = %actors::causes(&error), "the store could not be read");
        let detail = "The store cannot be read at the moment; nothing changed. Try again.";
        Problem::new(503, "store_unavailable", detail).after(1)
    }

    /// As an answer.
    #[must_use]
    pub(crate) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = HttpResponseBuilder::new(status);
        answer.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header(("Retry-After", seconds.to_string()));
        }
        answer.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
