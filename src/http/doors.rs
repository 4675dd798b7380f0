//! Who may come in, and how often.

use std::{net::IpAddr, num::NonZeroU32};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use tracing::info;

use super::{
    Door, Problem,
    client_ip::client_ip,
    operators::{Operators, Scope, not_an_operator},
};

/// The limits at the door.
pub(crate) struct Limits {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    operators: Operators,
    trusted_proxies: Vec<IpNet>,
}

impl Limits {
    pub(super) fn new(per_second: NonZeroU32, operators: Operators, trusted_proxies: Vec<IpNet>) -> Limits {
        Limits { clients: RateLimiter::keyed(Quota::per_second(per_second)), operators, trusted_proxies }
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

/// Operators only. Reading needs the scope `read`; what an act needs, its handler says by the type of its operator.
/// Every act is logged with the operator's name and its outcome.
pub(super) async fn admin<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let given = req.headers().get("authorization").and_then(|v| v.to_str().ok());
    let bearer = given.and_then(|v| v.strip_prefix("Bearer "));
    let door = req.app_data::<web::Data<Door>>();
    let known = door.and_then(|d| d.limits.operators.who(bearer, d.limits.client(req.request())));
    let known = known.ok_or_else(not_an_operator)?;
    if req.method().is_safe() {
        known.needs(Scope::Read)?;
        req.extensions_mut().insert(known);
        return next.call(req).await;
    }
    let (method, path) = (req.method().clone(), req.path().to_owned());
    req.extensions_mut().insert(known.clone());
    let done = next.call(req).await;
    let status = match &done {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    info!(operator = known.name(), %method, path, status = status.as_u16(), "an operator acted");
    done
}
