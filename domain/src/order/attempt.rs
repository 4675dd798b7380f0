//! One try to collect an order over one channel, and the certificate that ends it.

use serde::{Deserialize, Serialize};

use crate::{AttemptNo, Capture, ChannelId, ChannelKind, Credential, Refusal, Timestamp};

/// Why an attempt was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptCause {
    /// The first of its order.
    First,
    /// Another attempt's prepay was silent.
    Hedge,
    /// The payer asked for another way to pay.
    Switch,
    /// The attempt before it ended without money.
    Next,
}

/// Why nobody but us ever held the credential, or why none exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NeverExposed {
    /// Another attempt of the order came first.
    Outrun,
    /// We decided not to show it, so that a direct channel could be used or another way chosen.
    Withheld,
    /// The order was called off.
    Cancelled,
    /// The order's time ran out.
    Expired,
    /// The channel refused to make one.
    Refused {
        /// The channel's words.
        refusal: Refusal,
    },
    /// The only call there ever was did not leave, or the channel said that it did nothing.
    NotSent,
}

/// The evidence that ends an attempt; exactly one kind applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "certificate", rename_all = "snake_case")]
pub enum Certificate {
    /// Nobody but us holds the credential, so nobody can pay.
    NeverExposed(NeverExposed),
    /// The channel acknowledged a close, or reports the trade closed.
    Closed,
    /// A signed, final refusal.
    Declined {
        /// The channel's words.
        refusal: Refusal,
    },
    /// Money was taken; see the attempt's capture.
    Captured,
}

impl Certificate {
    /// The word used in the API and the store.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Certificate::NeverExposed(_) => "never_exposed",
            Certificate::Closed => "closed",
            Certificate::Declined { .. } => "declined",
            Certificate::Captured => "captured",
        }
    }
}

/// One try over one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its running number.
    pub no: AttemptNo,
    /// Over which channel.
    pub channel: ChannelId,
    /// How money moves there.
    pub kind: ChannelKind,
    /// Why it was started.
    pub cause: AttemptCause,
    /// The router's sentence.
    pub reason: String,
    /// When it was planned; the first call follows at once.
    pub planned_at: Timestamp,
    /// When the credential was released (direct: when the call was planned).
    pub exposed_at: Option<Timestamp>,
    /// What the payer pays with; none on a direct channel.
    pub credential: Option<Credential>,
    /// When a close was decided; it is repeated until certified.
    pub close_asked_at: Option<Timestamp>,
    /// The payer was let on to another way to pay while this one may still be paid: a later capture goes back.
    pub refund_prebooked: bool,
    /// What ended it.
    pub certificate: Option<Certificate>,
    /// The money it took.
    pub capture: Option<Capture>,
    /// Nothing is left to do at the channel.
    pub tidied: bool,
    /// Evidence contradicted itself; an operator should look.
    pub disputed: bool,
}

impl Attempt {
    /// True once the payer (or, on a direct channel, the channel) may move money.
    #[must_use]
    pub const fn is_exposed(&self) -> bool {
        self.exposed_at.is_some()
    }

    /// True while the credential is still being asked for.
    #[must_use]
    pub const fn is_calling(&self) -> bool {
        self.exposed_at.is_none() && self.certificate.is_none()
    }

    /// True while money can still move on it.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.exposed_at.is_some() && self.certificate.is_none()
    }

    /// True when it is certified and nothing is left open at the channel.
    #[must_use]
    pub fn is_tidy(&self) -> bool {
        match &self.certificate {
            None => false,
            Some(Certificate::NeverExposed(why)) => {
                self.tidied
                    || self.kind == ChannelKind::Direct
                    || matches!(why, NeverExposed::Refused { .. } | NeverExposed::NotSent)
            }
            Some(Certificate::Closed | Certificate::Declined { .. } | Certificate::Captured) => true,
        }
    }

    /// Where it stands, in one word for the API.
    #[must_use]
    pub const fn state_str(&self) -> &'static str {
        match (&self.certificate, self.exposed_at, self.close_asked_at) {
            (Some(certificate), _, _) => certificate.as_str(),
            (None, None, _) => "calling",
            (None, Some(_), None) => "exposed",
            (None, Some(_), Some(_)) => "closing",
        }
    }
}
