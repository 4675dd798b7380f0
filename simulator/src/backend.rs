//! The backends' side of webhooks: taken, refused, swallowed, or taken with the answer lost.

use std::{sync::Arc, time::Duration};

use actors::{Courier, Parcel};
use async_trait::async_trait;
use serde::Deserialize;

use crate::world::Reality;

/// Carries webhooks to the simulated backends.
pub(crate) struct SimCourier(pub(crate) Arc<Reality>);

#[derive(Deserialize)]
struct Told<'b> {
    r#type: &'b str,
    #[serde(borrow)]
    data: Whose<'b>,
}

#[derive(Deserialize)]
struct Whose<'b> {
    /// Messages to operators are about no order.
    #[serde(default)]
    id: &'b str,
}

#[async_trait]
impl Courier for SimCourier {
    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<u16, String> {
        let told: Told<'_> = serde_json::from_str(parcel.body).map_err(|error| error.to_string())?;
        let fate = self.0.with(|world| {
            if world.dead {
                return None;
            }
            if world.backend_down {
                return Some((false, Err("connection refused"), world.dice.ms(1, 50)));
            }
            let fate = if world.mischief(0.05) {
                let long = Duration::from_secs(60);
                let quick = world.dice.ms(5, 400);
                world.count("webhooks not taken");
                world.dice.pick(
                    &[
                        (1.0, (false, Ok(500), quick)),
                        (1.0, (true, Err("answer lost"), quick)),
                        (1.0, (false, Err("no answer"), long)),
                        (0.5, (true, Ok(200), long)),
                    ],
                    (false, Ok(500), quick),
                )
            } else {
                (true, Ok(200), world.dice.ms(4, 60))
            };
            world.no_part_is_told(told.data.id, told.r#type);
            if fate.0 {
                world.told.insert((told.data.id.to_owned(), told.r#type.to_owned()));
            }
            Some(fate)
        });
        let Some((_, status, after)) = fate else { return std::future::pending().await };
        if after > parcel.deadline {
            tokio::time::sleep(parcel.deadline).await;
            return Err("no answer within the deadline".to_owned());
        }
        tokio::time::sleep(after).await;
        status.map_err(str::to_owned)
    }
}
