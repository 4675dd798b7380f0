//! The front door: HTTP in, JSON or problem+json out. Owns nothing of an order's rules.

mod admin;
mod client_ip;
mod doors;
mod health;
mod held;
mod new_order;
mod notify;
pub(crate) mod openapi;
pub(crate) mod operators;
mod orders;
mod parts;
mod problem;
mod reconciliation;
mod restored;
mod stream;
mod webhooks;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, middleware::from_fn, web};
use actors::Service;
use anyhow::Context as _;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;

pub(crate) use problem::Problem;

use crate::config::Config;

/// What every handler reaches.
pub(crate) struct Door {
    /// The house.
    pub service: Service,
    /// The limits at the door.
    pub limits: doors::Limits,
    /// The merchants that are served; empty: all.
    pub merchants: Vec<String>,
    /// From where channels may call; not named: from anywhere.
    pub notify_from: BTreeMap<String, Vec<IpNet>>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// False while starting and stopping.
    pub ready: std::sync::atomic::AtomicBool,
}

/// Starts to listen; the server runs on threads of its own.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn start(
    config: &Config,
    service: Service,
    metrics: PrometheusHandle,
) -> anyhow::Result<(Arc<Door>, ServerHandle)> {
    let http = &config.http;
    let rate = NonZeroU32::new(http.rate_per_s).unwrap_or(NonZeroU32::MIN);
    let door = Arc::new(Door {
        service,
        limits: doors::Limits::new(
            rate,
            operators::Operators::new(&http.admin_token, &config.operators),
            http.trusted_proxies.clone(),
        ),
        merchants: config.service.merchants.clone(),
        notify_from: config.service.notify_from.clone(),
        metrics,
        ready: std::sync::atomic::AtomicBool::new(true),
    });
    let data = web::Data::from(Arc::clone(&door));
    let body_max = http.body_max_bytes;
    let server = HttpServer::new(move || {
        App::new().app_data(data.clone()).app_data(web::PayloadConfig::new(body_max)).configure(routes)
    })
    .workers(http.workers.get())
    .max_connections(http.max_connections)
    .backlog(4096)
    .client_request_timeout(Duration::from_millis(http.header_timeout_ms))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(config.service.shutdown_deadline_s.div_ceil(2))
    .disable_signals()
    .bind(http.listen)
    .with_context(|| format!("http.listen: cannot listen on {}", http.listen))?
    .run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok((door, handle))
}

fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/healthz", web::get().to(health::healthz))
        .route("/readyz", web::get().to(health::readyz))
        .route("/metrics", web::get().to(health::metrics))
        .route("/openapi.json", web::get().to(openapi::json))
        .service(openapi::docs())
        .route("/reconciliation", web::get().to(reconciliation::page))
        .route("/notify/{channel}", web::post().to(notify::notify))
        .service(
            web::scope("/v1")
                .wrap(from_fn(doors::rate))
                .service(web::resource("/orders").route(web::post().to(orders::create)))
                .route("/orders/{id}", web::get().to(orders::read_order))
                .route("/orders/{id}/events", web::get().to(stream::events))
                .route("/orders/{id}/qr.svg", web::get().to(orders::qr))
                .route("/orders/{id}/close", web::post().to(orders::close))
                .route("/orders/{id}/keep", web::post().to(orders::keep))
                .route("/orders/{id}/switch", web::post().to(orders::switch))
                .route("/orders/{id}/hint", web::post().to(orders::hint))
                .route("/orders/{id}/refunds", web::post().to(orders::refund))
                .route("/payers/{id}", web::get().to(orders::payer))
                .route("/events", web::get().to(webhooks::events_after))
                .default_service(web::to(nothing_here)),
        )
        .service(
            web::scope("/admin/v1")
                .wrap(from_fn(doors::admin))
                .route("/channels", web::get().to(admin::channels))
                .route("/channels/{name}", web::patch().to(admin::channel_set))
                .service(
                    web::resource("/tuning")
                        .route(web::get().to(admin::tuning))
                        .route(web::patch().to(admin::tune)),
                )
                .route("/switches", web::get().to(admin::switches))
                .route("/notifications", web::get().to(admin::notifications))
                .route("/orders", web::get().to(admin::orders))
                .route("/orders/{id}/callbacks", web::get().to(admin::callbacks))
                .route("/orders/{id}/held", web::post().to(held::decide))
                .route("/orders/{id}/story", web::get().to(admin::story))
                .route("/webhooks", web::get().to(webhooks::list))
                .route("/webhooks/backends", web::get().to(webhooks::backends))
                .route("/webhooks/resend", web::post().to(webhooks::resend_dead))
                .route("/webhooks/resends", web::get().to(webhooks::resends))
                .route("/webhooks/{id}/resend", web::post().to(webhooks::resend_one))
                .route("/reconciliation/runs", web::get().to(reconciliation::runs))
                .route("/reconciliation/runs", web::post().to(reconciliation::run))
                .route("/reconciliation/differences", web::get().to(reconciliation::differences))
                .route("/reconciliation/differences.csv", web::get().to(reconciliation::differences_csv))
                .route("/reconciliation/differences/{id}", web::get().to(reconciliation::difference))
                .route("/reconciliation/differences/{id}/confirm", web::post().to(reconciliation::confirm))
                .route("/reconciliation/gaps", web::get().to(reconciliation::gaps))
                .route("/stats", web::get().to(admin::stats))
                .default_service(web::to(nothing_here)),
        )
        .default_service(web::to(nothing_here));
}

async fn nothing_here() -> HttpResponse {
    Problem::new(404, "not_found", "There is nothing at this address; /docs lists what there is.").response()
}
