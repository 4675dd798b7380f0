//! Liveness, readiness, metrics.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};

use super::{Door, Problem};

/// The process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Orders are welcome: the store answers, and no shutdown has begun.
pub(super) async fn readyz(door: web::Data<Door>) -> HttpResponse {
    if !door.ready.load(Ordering::Acquire) {
        return Problem::new(503, "stopping", "The service is stopping.").after(5).response();
    }
    match door.service.store().ping().await {
        Ok(()) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Err(error) => Problem::store(&error).response(),
    }
}

/// Prometheus text.
pub(super) async fn metrics(door: web::Data<Door>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(door.metrics.render())
}
