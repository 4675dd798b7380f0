//! Delivers notifications: on the channel's schedule, with the faults that were asked for.
//!
//! A delivery is signed anew at every try, by the channel that sends it. What is lost is never tried again; what
//! the merchant refuses or does not answer within five seconds is tried on the schedule.

use std::{sync::Arc, time::Duration};

use crate::{faults::NotifyFate, world::World};

/// One HTTP delivery, signed for this moment.
pub(crate) struct Signed {
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a delivery is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As the protocol says.
    Genuine,
    /// With a signature that is not the channel's.
    Forged,
    /// Properly signed, with another amount.
    WrongAmount,
}

/// What is delivered.
pub(crate) struct Delivery {
    /// Who sends it.
    pub channel: &'static str,
    /// Where it goes.
    pub url: String,
    /// What is decided for it.
    pub fate: NotifyFate,
    /// The pauses before each repeat.
    pub schedule: &'static [u64],
    /// The whole body of an answer that takes it; without one any success does.
    pub wants: Option<&'static str>,
    /// Makes it for this moment; `None` if it cannot be made.
    pub sign: Arc<dyn Fn(Look) -> Option<Signed> + Send + Sync>,
}

/// The sender.
pub(crate) struct Notifier {
    client: reqwest::Client,
}

const DEADLINE: Duration = Duration::from_secs(5);

impl Notifier {
    pub(crate) fn new() -> std::io::Result<Notifier> {
        let _set_by_the_binary_already = rustls_provider();
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(256)
            // Merchants of a sandbox are on this machine; a machine without CA certificates is fine.
            .tls_certs_only([])
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Notifier { client })
    }

    async fn post(&self, world: &World, delivery: &Delivery, look: Look) -> bool {
        let Some(signed) = (delivery.sign)(look) else { return false };
        let mut call = self.client.post(&delivery.url).body(signed.body);
        for (name, value) in signed.headers {
            call = call.header(name, value);
        }
        let taken = match (call.send().await, delivery.wants) {
            (Ok(answer), None) => answer.status().is_success(),
            (Ok(answer), Some(word)) => {
                answer.status().as_u16() == 200 && answer.text().await.is_ok_and(|text| text == word)
            }
            (Err(_), _) => false,
        };
        let word = if taken { "taken" } else { "refused" };
        world.count(&format!("{}.notifications.{word}", delivery.channel));
        taken
    }
}

fn rustls_provider() -> bool {
    // A second install is refused and harmless: the first provider stays.
    rustls::crypto::aws_lc_rs::default_provider().install_default().is_ok()
}

/// Starts a delivery in the background.
pub(crate) fn deliver(world: Arc<World>, delivery: Delivery) {
    world.count(&format!("{}.notifications", delivery.channel));
    if delivery.fate.lost {
        world.count(&format!("{}.notifications.lost", delivery.channel));
        return;
    }
    actix_web::rt::spawn(async move {
        let fate = delivery.fate.clone();
        tokio::time::sleep(fate.after).await;
        if fate.forged {
            world.notifier.post(&world, &delivery, Look::Forged).await;
        }
        if fate.wrong_amount {
            world.notifier.post(&world, &delivery, Look::WrongAmount).await;
        }
        let mut taken = world.notifier.post(&world, &delivery, Look::Genuine).await;
        if fate.doubled {
            taken |= world.notifier.post(&world, &delivery, Look::Genuine).await;
        }
        for pause in delivery.schedule {
            if taken {
                return;
            }
            tokio::time::sleep(Duration::from_secs(*pause)).await;
            taken = world.notifier.post(&world, &delivery, Look::Genuine).await;
        }
    });
}
