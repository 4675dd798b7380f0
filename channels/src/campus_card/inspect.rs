//! What an operator should know of `[channels.campus_card]` before it goes live.

use serde_json::Value;

use super::Options;
use crate::{config::Faults, inspect::Look};

pub(crate) fn inspect(options: &Value, look: &mut Look) {
    let Some(options) = look.options::<Options>(options) else { return };
    let mut faults = Faults::default();
    options.check(&mut faults);
    look.faults(faults.done(), &["secret"]);
    look.addresses(&options.base_url, &options.notify_url);
    look.test_id("merchant_id", &options.merchant_id, &["M1001", "SANDBOX"]);
    look.secret("secret", &options.secret, 32..=256);
}
