//! Who may come in, and how often.

use std::{net::IpAddr, num::NonZeroU32};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use keys::Secret;

use super::{Door, Problem};

/// The limits at the door.
pub(crate) struct Limits {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    admin_token: Secret,
}

impl Limits {
    pub(super) fn new(per_second: NonZeroU32, admin_token: Secret) -> Limits {
        Limits { clients: RateLimiter::keyed(Quota::per_second(per_second)), admin_token }
    }

    /// Forgets clients that have been quiet.
    pub(crate) fn tidy(&self) {
        self.clients.retain_recent();
    }
}

fn client(req: &ServiceRequest) -> Option<IpAddr> {
    req.peer_addr().map(|addr| addr.ip())
}

/// So many requests per client address and second.
pub(super) async fn rate<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let door = req.app_data::<web::Data<Door>>().cloned();
    let (Some(door), Some(ip)) = (door, client(&req)) else { return next.call(req).await };
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
        client(&req).is_some_and(|ip| ip.is_loopback())
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
