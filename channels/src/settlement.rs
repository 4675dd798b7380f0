//! What a channel with profit sharing can do beside [`Channel`](crate::Channel).
//!
//! As there: each call is one HTTP exchange, nothing is repeated inside, the caller owns the deadline, and the answer says
//! what may be done next. Money must have been frozen when the credential was asked for (`profit_sharing = true` in the
//! channel's options). After a silent call only a query tells; a repeat under the same number with the same content
//! is the same request, with other content it is refused.

use async_trait::async_trait;
use domain::settlement::{
    Receiver, ReceiverAnswer, RemainingAnswer, ReturnAnswer, ReturnAsk, SettlementLimits, SplitAnswer,
    SplitAsk, SplitKey,
};

/// Splitting what the channel holds frozen.
#[async_trait]
pub trait Settlement: Send + Sync {
    /// What the channel allows.
    fn settlement_limits(&self) -> SettlementLimits;

    /// Makes a receiver known. Repeating is safe and changes nothing.
    async fn receiver_add(&self, receiver: &Receiver) -> ReceiverAnswer;

    /// Forgets a receiver; splits under way go on. Repeating is safe.
    async fn receiver_delete(&self, receiver: &Receiver) -> ReceiverAnswer;

    /// Splits. `Declined`: nothing was done; by fault: ours (content), state (not paid, not frozen, too early, more than
    /// the share or than what is left), channel (busy).
    async fn split(&self, ask: &SplitAsk) -> SplitAnswer;

    /// Asks what became of a split or a release. Harmless.
    async fn split_query(&self, key: &SplitKey) -> SplitAnswer;

    /// Releases what is still frozen to the merchant, under a number of its own; no split may follow.
    async fn release(&self, key: &SplitKey) -> SplitAnswer;

    /// A receiver gives a part back to the merchant, so that it can be refunded.
    async fn give_back(&self, ask: &ReturnAsk) -> ReturnAnswer;

    /// Asks what became of that. Harmless.
    async fn give_back_query(&self, ask: &ReturnAsk) -> ReturnAnswer;

    /// Asks what is still frozen of a trade, by the channel's own number of it. Harmless.
    async fn remaining(&self, trade_no: &str) -> RemainingAnswer;
}
