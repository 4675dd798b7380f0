//! When "no such trade" is an answer.
//!
//! Some channels begin a trade only when the payer looks at the code (Alipay's precreate). Until then they know no
//! trade under our number: a close has nothing to close, and a query finds nothing, however long one asks. Every
//! credential carries the order's end, so after it nobody can begin the trade any more, and the channel's signed
//! "not there" certifies that it was never paid. Should money turn up after all, it is refunded like every late capture.

use super::{Order, Rules};
use crate::{AttemptNo, ChannelKind, Timestamp};

impl Order {
    /// True if a signed "no such trade" ends this attempt now: a credential that was shown, half of
    /// [`Rules::certify_grace`] (clocks differ) after its end. A direct channel's call may still arrive, so it never does.
    #[must_use]
    pub fn is_gone(&self, no: AttemptNo, now: Timestamp, rules: &Rules) -> bool {
        let over = now >= self.request.expires_at.plus(rules.certify_grace / 2);
        let live = |attempt: &super::Attempt| attempt.is_live() && attempt.kind == ChannelKind::Credential;
        over && self.attempt(no).is_some_and(live)
    }
}
