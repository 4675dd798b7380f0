//! The backend's side of webhooks: receives, verifies, answers, counts.
//!
//! Speaks the Standard Webhooks form: `webhook-id`, `webhook-timestamp`, and `webhook-signature` with one or
//! more `v1,<base64>` entries, each HMAC-SHA256 over `id.timestamp.body` under the secret behind `whsec_`.
//! A call that does not verify is answered 401 and counted; a repeated id is answered 200 and counted once.
//! On command it fails a share of its answers with 500, as a real backend would on a bad day.

use std::{
    cell::RefCell,
    collections::HashSet,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::Context;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::TcpListener;

use crate::num;

/// How far a webhook's time may be from ours; the specification's recommendation.
const TOLERANCE_S: u64 = 300;
const BODY_MAX: usize = 1 << 20;

/// What the sink has seen.
#[derive(Debug, Clone, Default)]
pub struct SinkCounts {
    /// Calls, all of them.
    pub calls: u64,
    /// Different webhooks that verified and were taken.
    pub taken: u64,
    /// Verified calls with an id that had been taken before.
    pub repeated: u64,
    /// Calls that did not verify.
    pub refused: u64,
    /// Calls answered with 500 on purpose.
    pub failed_on_purpose: u64,
}

/// A secret that webhooks are signed with.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// From its text form, `whsec_` and base64.
    ///
    /// # Errors
    /// When the prefix is missing or the rest is not base64. The text itself is not repeated.
    pub fn parse(text: &str) -> anyhow::Result<WebhookSecret> {
        let encoded =
            text.strip_prefix("whsec_").context("webhook secret: expected it to start with whsec_")?;
        let bytes = STANDARD.decode(encoded).context("webhook secret: expected base64 after whsec_")?;
        Ok(WebhookSecret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Whether one of the signatures in the `webhook-signature` header is ours for this call.
    #[must_use]
    pub fn verify(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        signatures
            .split_ascii_whitespace()
            .filter_map(|entry| entry.strip_prefix("v1,"))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .any(|tag| hmac::verify(&self.0, &signed, &tag).is_ok())
    }
}

/// A running sink. It lives on the run's thread and ends with it.
pub(crate) struct Sink {
    /// Where webhooks go.
    pub(crate) url: String,
    state: Rc<RefCell<State>>,
}

struct State {
    secret: WebhookSecret,
    error_rate: f64,
    dice: ChaCha8Rng,
    seen: HashSet<String>,
    counts: SinkCounts,
}

impl Sink {
    /// Listens on a free port of this machine. Must be called inside a `LocalSet`.
    pub(crate) async fn start(secret: WebhookSecret, error_rate: f64, seed: u64) -> anyhow::Result<Sink> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.context("webhook sink: no free port")?;
        let url = format!("http://{}/paid", listener.local_addr().context("webhook sink: no address")?);
        let state = Rc::new(RefCell::new(State {
            secret,
            error_rate,
            dice: ChaCha8Rng::seed_from_u64(seed),
            seen: HashSet::new(),
            counts: SinkCounts::default(),
        }));
        tokio::task::spawn_local(serve(listener, Rc::clone(&state)));
        Ok(Sink { url, state })
    }

    pub(crate) fn counts(&self) -> SinkCounts {
        self.state.borrow().counts.clone()
    }
}

async fn serve(listener: TcpListener, state: Rc<RefCell<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles, most likely; those in use will be given back.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let state = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(request, Rc::clone(&state)));
            // A connection that breaks is the sender's business; it will call again.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Rc<RefCell<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let status = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => state.borrow_mut().take(&parts.headers, &body.to_bytes(), num::wall_us()),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    Ok(response)
}

impl State {
    fn take(&mut self, headers: &HeaderMap, body: &[u8], now_us: i64) -> StatusCode {
        self.counts.calls += 1;
        let Some(id) = self.verified(headers, body, now_us) else {
            self.counts.refused += 1;
            return StatusCode::UNAUTHORIZED;
        };
        if self.error_rate > 0.0 && self.dice.random::<f64>() < self.error_rate {
            self.counts.failed_on_purpose += 1;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        if self.seen.insert(id) {
            self.counts.taken += 1;
        } else {
            self.counts.repeated += 1;
        }
        StatusCode::OK
    }

    /// The webhook's id, if signature and time are good.
    fn verified(&self, headers: &HeaderMap, body: &[u8], now_us: i64) -> Option<String> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (id, timestamp) = (text("webhook-id")?, text("webhook-timestamp")?);
        let sent: i64 = timestamp.parse().ok()?;
        let fresh = (now_us / 1_000_000).abs_diff(sent) <= TOLERANCE_S;
        let good = fresh && self.secret.verify(id, timestamp, body, text("webhook-signature")?);
        good.then(|| id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW: i64 = 1_614_265_330;

    fn state(error_rate: f64) -> State {
        State {
            secret: WebhookSecret::parse(SECRET).unwrap(),
            error_rate,
            dice: ChaCha8Rng::seed_from_u64(1),
            seen: HashSet::new(),
            counts: SinkCounts::default(),
        }
    }

    fn headers(id: &str, timestamp: i64, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn signed(id: &str, timestamp: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&SECRET[6..]).unwrap());
        let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }

    #[test]
    fn the_specifications_own_example_verifies_and_any_change_does_not() {
        // From the Standard Webhooks reference libraries' test.
        let secret = WebhookSecret::parse(SECRET).unwrap();
        let (id, time, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(secret.verify(id, time, body, signature));
        assert!(secret.verify(id, time, body, &format!("v1,AAAA v2,BBBB {signature}")));
        assert!(!secret.verify(id, "1614265331", body, signature));
        assert!(!secret.verify("msg_other", time, body, signature));
        assert!(!secret.verify(id, time, br#"{"test": 2432232315}"#, signature));
        assert!(!secret.verify(id, time, body, &signature.replace("v1,", "v2,")));
    }

    #[test]
    fn a_good_call_is_taken_once_and_a_forged_or_stale_one_never() {
        let mut sink = state(0.0);
        let good = headers("m1", NOW, &signed("m1", NOW, "{}"));
        let now_us = NOW * 1_000_000;
        assert_eq!(sink.take(&good, b"{}", now_us), StatusCode::OK);
        assert_eq!(sink.take(&good, b"{}", now_us), StatusCode::OK);
        assert_eq!(sink.take(&good, b"{ }", now_us), StatusCode::UNAUTHORIZED);
        assert_eq!(sink.take(&good, b"{}", now_us + 301_000_000), StatusCode::UNAUTHORIZED);
        assert_eq!(sink.take(&HeaderMap::new(), b"{}", now_us), StatusCode::UNAUTHORIZED);
        let counts = &sink.counts;
        assert_eq!((counts.calls, counts.taken, counts.repeated, counts.refused), (5, 1, 1, 3));
    }

    #[test]
    fn failing_on_purpose_leaves_the_webhook_untaken() {
        let mut sink = state(1.0);
        let good = headers("m1", NOW, &signed("m1", NOW, "{}"));
        assert_eq!(sink.take(&good, b"{}", NOW * 1_000_000), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((sink.counts.taken, sink.counts.failed_on_purpose), (0, 1));
    }

    #[test]
    fn a_secret_without_its_prefix_or_with_broken_base64_is_refused_without_being_repeated() {
        for text in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
            let error = format!("{:#}", WebhookSecret::parse(text).unwrap_err());
            assert!(error.contains("webhook secret") && !error.contains(text), "{error}");
        }
    }
}
