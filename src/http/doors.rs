//! Who may come in, and how often.

use std::{net::IpAddr, num::NonZeroU32};

use actix_web::{
    Error, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use keys::Secret;

use super::{Door, Problem, client_ip::client_ip};

/// The limits at the door.
pub(crate) struct Limits {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    admin_token: Secret,
    trusted_proxies: Vec<IpNet>,
}

impl Limits {
    pub(super) fn new(per_second: NonZeroU32, admin_token: Secret, trusted_proxies: Vec<IpNet>) -> Limits {
        Limits { clients: RateLimiter::keyed(Quota::per_second(per_second)), admin_token, trusted_proxies }
    }

    /// Who calls, seen through the proxies that are trusted.
    pub(super) fn client(&self, req: &HttpRequest) -> Option<IpAddr> {
        let forwarded = req.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok());
        Some(client_ip(req.peer_addr()?.ip(), forwarded, &self.trusted_proxies))
    }

    /// Forgets clients that have been quiet.
    pub(crate) fn tidy(&self) {
        self.clients.retain_recent();
    }
}

/// So many requests per client address and second.
pub(super) async fn rate<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let door = req.app_data::<web::Data<Door>>().cloned();
    let ip = door.as_ref().and_then(|door| door.limits.client(req.request()));
    let (Some(door), Some(ip)) = (door, ip) else { return next.call(req).await };
    if door.limits.clients.check_key(&ip).is_err() {
        let detail = "Too many requests from this address (http.rate_per_s); nothing changed.";
        return Err(Problem::new(429, "rate_limited", detail).after(1).into());
    }
    next.call(req).await
}

/// Operators only: with the token if one is configured, else from this machine.
pub(super) async fn admin<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let door = req.app_data::<web::Data<Door>>().cloned();
    let token = door.as_ref().map(|d| d.limits.admin_token.expose()).unwrap_or_default();
    let allowed = if token.is_empty() {
        door.as_ref().and_then(|d| d.limits.client(req.request())).is_some_and(|ip| ip.is_loopback())
    } else {
        let given = req.headers().get("authorization").and_then(|v| v.to_str().ok());
        let given = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        keys::slices_equal(given.as_bytes(), token.as_bytes())
    };
    if allowed {
        return next.call(req).await;
    }
    let detail = "Operators only: send Authorization: Bearer with http.admin_token.";
    Err(Problem::new(401, "not_an_operator", detail).into())
}
