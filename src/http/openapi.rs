//! The API's description, made from the code.

use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{admin, held, notify, orders, reconciliation, stream, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rushpay",
        description = "Payments for campus food delivery. Amounts are integer fen, times RFC 3339; refusals are \
                       application/problem+json with a stable `code`.",
    ),
    paths(
        orders::create, orders::read_order, orders::keep, stream::events, orders::qr, orders::close, orders::switch,
        orders::hint, orders::refund, webhooks::events_after, orders::payer, notify::notify, admin::channels,
        admin::channel_set, admin::tuning, admin::tune, admin::switches, admin::notifications, admin::orders,
        admin::callbacks, admin::story, admin::stats, held::decide,
        reconciliation::runs, reconciliation::run, reconciliation::differences, reconciliation::differences_csv,
        reconciliation::difference, reconciliation::confirm, reconciliation::gaps,
    ),
    tags(
        (name = "orders", description = "What a backend asks to be paid."),
        (name = "events", description = "To catch up after an outage."),
        (name = "channels", description = "What channels call."),
        (name = "admin", description = "For operators."),
        (name = "reconciliation", description = "Our books against the channels' bills."),
    )
)]
struct Api;

/// The description as JSON.
#[must_use]
pub(crate) fn text() -> String {
    Api::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// `GET /openapi.json`
pub(super) async fn json() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text())
}

/// `GET /docs/`
pub(super) fn docs() -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kept_description_is_what_the_code_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == super::text(), "run: cargo run -- openapi > docs/openapi.json");
    }
}
