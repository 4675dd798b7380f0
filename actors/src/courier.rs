//! Carries one webhook to its backend: signed here, over HTTP in production, over nothing in a simulation.
//!
//! Calls follow the Standard Webhooks specification, so its published libraries verify them. A courier makes one call
//! and says what came of it; when to call again is the sender's business. A redirect is an answer like any other: a
//! backend that moves says so in its orders.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Timestamp;
use store::WebhookDue;

/// One signed call, ready to be made.
#[derive(Debug)]
pub struct Parcel<'w> {
    /// Where it goes.
    pub url: &'w str,
    /// `webhook-id`: the same in every try.
    pub id: &'w str,
    /// `webhook-timestamp`: Unix seconds of this try.
    pub timestamp: String,
    /// `webhook-signature`: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`.
    pub signature: String,
    /// The body, JSON.
    pub body: &'w str,
    /// A call that takes longer has failed.
    pub deadline: Duration,
}

impl<'w> Parcel<'w> {
    pub(crate) fn new(secret: &[u8], due: &'w WebhookDue, at: Timestamp, deadline: Duration) -> Parcel<'w> {
        let timestamp = at.secs().to_string();
        let signature = sign(secret, &due.id, &timestamp, &due.payload);
        Parcel { url: &due.url, id: &due.id, timestamp, signature, body: &due.payload, deadline }
    }
}

fn sign(secret: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    format!("v1,{}", STANDARD.encode(keys::hmac_sha256(secret, signed.as_bytes())))
}

/// Makes one call.
#[async_trait]
pub trait Courier: Send + Sync {
    /// The backend's HTTP status, within the parcel's deadline. Repeating is safe: backends know a webhook by its id.
    ///
    /// # Errors
    /// There was no answer; the sentence says why, without the address.
    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<u16, String>;
}

/// The courier of production.
#[derive(Debug)]
pub struct HttpCourier(reqwest::Client);

impl HttpCourier {
    /// A courier with connections of its own.
    ///
    /// # Errors
    /// The machine's certificates cannot be read.
    pub fn new() -> Result<HttpCourier, reqwest::Error> {
        let client = reqwest::Client::builder()
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(64);
        Ok(HttpCourier(client.build()?))
    }
}

#[async_trait]
impl Courier for HttpCourier {
    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<u16, String> {
        let call = self
            .0
            .post(parcel.url)
            .header("content-type", "application/json")
            .header("webhook-id", parcel.id)
            .header("webhook-timestamp", &parcel.timestamp)
            .header("webhook-signature", &parcel.signature)
            .timeout(parcel.deadline)
            .body(parcel.body.to_owned());
        call.send().await.map(|r| r.status().as_u16()).map_err(|e| e.without_url().to_string())
    }
}

/// How webhooks are signed and who carries them.
#[derive(Clone)]
pub struct WebhookOptions {
    /// The secret shared with the backends, without its `whsec_` prefix, decoded.
    pub secret: Arc<[u8]>,
    /// Who carries them.
    pub courier: Arc<dyn Courier>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example_is_signed_the_same_way() {
        // From the Standard Webhooks reference libraries' test.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
