//! Liveness, readiness, metrics.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};

use super::{Door, Problem};

/// The process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Orders are welcome: the store answers and takes commits, and no shutdown has begun.
pub(super) async fn readyz(door: web::Data<Door>) -> HttpResponse {
    if !door.ready.load(Ordering::Acquire) {
        return Problem::new(503, "stopping", "The service is stopping.").after(5).response();
    }
    if let Err(error) = door.service.store().ping().await {
        return Problem::store(&error).response();
    }
    if door.service.commits().await.is_err() {
        let detail =
            "The store can be read and refuses commits; the log says why. No order is lost or taken.";
        return Problem::new(503, "store_unavailable", detail).after(1).response();
    }
    HttpResponse::Ok().content_type("text/plain").body("ready\n")
}

/// Prometheus text.
pub(super) async fn metrics(door: web::Data<Door>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(door.metrics.render())
}
