//! The chain over an order's history: each row of `order_events` carries a hash that hangs on the row before it.
//!
//! A link covers everything that its transition made durable and that never changes afterwards: the event's row, its
//! lines in the books, what the backend was to be told, and with the first one the accepted body's hash. Altering
//! one byte of any of them breaks exactly this link; taking a row away breaks the next one. Rewriting the rest of
//! the chain as well needs a certificate to be found out ([`super::certificate`]). Every field goes in with its
//! length, so that no two rows read the same.

use sha2::{Digest as _, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// The link of one transition in the making. Feed books lines in their order, then webhooks in theirs.
#[derive(Debug, Clone)]
pub struct Link(Sha256);

/// The columns of a row of `order_events` that a link covers.
#[derive(Debug, Clone, Copy)]
pub struct LinkEvent<'a> {
    /// Its number.
    pub version: i64,
    /// When, in microseconds.
    pub at: i64,
    /// The event's word.
    pub event: &'a str,
    /// Where it came from.
    pub source: &'a str,
    /// What to look up there.
    pub reference: &'a str,
    /// The facts as they are stored.
    pub facts: &'a str,
    /// The accepted body's hash with the first transition, empty with every other.
    pub body_hash: &'a str,
}

impl Link {
    /// A link of `order` that hangs on `previous`; the first one hangs on the order's id alone.
    #[must_use]
    pub fn new(order: &str, previous: Option<&Hash>, event: &LinkEvent<'_>) -> Link {
        let mut link = Link(Sha256::new_with_prefix(b"rushpay order event 1\0"));
        link.text(order);
        link.bytes(previous.map_or(&[], |hash| hash.as_slice()));
        link.number(event.version);
        link.number(event.at);
        for text in [event.event, event.source, event.reference, event.facts, event.body_hash] {
            link.text(text);
        }
        link
    }

    /// Adds a line of the books.
    pub fn book(&mut self, line: i64, account: &str, amount_fen: i64) {
        self.0.update(b"B");
        self.number(line);
        self.text(account);
        self.number(amount_fen);
    }

    /// Adds what the backend was to be told.
    pub fn webhook(&mut self, seq: i64, id: &str, kind: &str, payload: &str, url: Option<&str>) {
        self.0.update(b"W");
        self.number(seq);
        self.text(id);
        self.text(kind);
        self.text(payload);
        self.0.update([u8::from(url.is_some())]);
        self.text(url.unwrap_or_default());
    }

    /// The hash to store.
    #[must_use]
    pub fn finish(self) -> Hash {
        self.0.finalize().into()
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(bytes);
    }
}

/// The seal of a webhook's delivery: the columns that change with every try, and so cannot be in the chain.
#[must_use]
pub fn delivery_seal(id: &str, state: &str, since: i64, tries: i64, next_at: Option<i64>) -> i64 {
    let mut seal = Link(Sha256::new_with_prefix(b"rushpay webhook delivery 1\0"));
    seal.text(id);
    seal.text(state);
    seal.number(since);
    seal.number(tries);
    seal.0.update([u8::from(next_at.is_some())]);
    seal.number(next_at.unwrap_or_default());
    let hash = seal.finish();
    let (first, _) = hash.split_at(8);
    i64::from_le_bytes(first.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: LinkEvent<'static> = LinkEvent {
        version: 2,
        at: 5,
        event: "prepaid",
        source: "wechat",
        reference: "",
        facts: "[]",
        body_hash: "",
    };

    #[test]
    fn a_link_depends_on_every_field_and_on_where_one_ends() {
        let first = Link::new("o", None, &EVENT).finish();
        let mut seen = vec![first, Link::new("o", Some(&first), &EVENT).finish()];
        for other in [
            LinkEvent { version: 3, ..EVENT },
            LinkEvent { at: 6, ..EVENT },
            LinkEvent { event: "prepai", source: "dwechat", ..EVENT },
            LinkEvent { reference: "x", ..EVENT },
            LinkEvent { facts: "[ ]", ..EVENT },
            LinkEvent { body_hash: "x", ..EVENT },
        ] {
            seen.push(Link::new("o", None, &other).finish());
        }
        for (account, fen) in [("channel/wechat", 5), ("channel/wechat", -5), ("channel/alipay", 5)] {
            let mut link = Link::new("o", None, &EVENT);
            link.book(0, account, fen);
            seen.push(link.finish());
        }
        for url in [None, Some("")] {
            let mut link = Link::new("o", None, &EVENT);
            link.webhook(1, "w", "order.succeeded", "{}", url);
            seen.push(link.finish());
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all, "two different rows have the same hash");
    }

    #[test]
    fn a_seal_depends_on_every_column_of_a_delivery() {
        let seals = [
            delivery_seal("w", "due", 0, 0, Some(0)),
            delivery_seal("w", "due", 0, 0, None),
            delivery_seal("w", "due", 0, 1, Some(0)),
            delivery_seal("w", "due", 1, 0, Some(0)),
            delivery_seal("w", "dead", 0, 0, Some(0)),
            delivery_seal("v", "due", 0, 0, Some(0)),
        ];
        let different: std::collections::BTreeSet<i64> = seals.into_iter().collect();
        assert_eq!(different.len(), seals.len());
    }
}
