//! Third opinion: the channels' own books against what our rows say was taken and given back, both ways.
//!
//! Holds a line for each capture and refund in memory; for millions of lines, reconcile by bills instead.

use std::collections::HashMap;

use super::{ChannelLine, OrderAccount, Violation, explained::Record};

/// What we say, by the numbers that a channel knows.
#[derive(Debug, Default)]
pub(super) struct OurSide {
    captures: HashMap<String, Ours>,
    refunds: HashMap<String, Ours>,
    /// What operators have dealt with and no row of ours knows.
    pub(super) record: Record,
}

#[derive(Debug)]
struct Ours {
    order: String,
    channel: String,
    fen: Option<i64>,
    /// The channel may be ahead of us.
    open: bool,
    seen: bool,
}

impl OurSide {
    /// Notes an order; an attempt number that is there already is a violation.
    pub(super) fn order(&mut self, account: &OrderAccount, found: &mut Vec<Violation>) {
        let settled = account.row.as_ref().is_some_and(|row| row.settled == 1);
        for attempt in &account.attempts {
            let open = matches!(attempt.state.as_str(), "calling" | "exposed" | "closing");
            let ours = Ours {
                order: account.id.clone(),
                channel: attempt.channel.clone(),
                fen: attempt.capture_fen,
                open: open || !settled,
                seen: false,
            };
            if self.captures.insert(attempt.channel_order_no.clone(), ours).is_some() {
                let detail = format!("{} is the number of two attempts", attempt.channel_order_no);
                found.push(Violation::of("attempt_number_twice", &account.id, detail));
            }
        }
        for refund in &account.refunds {
            let attempt = account.attempts.iter().find(|a| a.no == refund.attempt_no);
            let ours = Ours {
                order: account.id.clone(),
                channel: attempt.map(|a| a.channel.clone()).unwrap_or_default(),
                fen: (refund.state == "succeeded").then_some(refund.amount_fen),
                open: matches!(refund.state.as_str(), "booked" | "processing"),
                seen: false,
            };
            self.refunds.insert(refund.refund_no.clone(), ours);
        }
    }

    /// Compares one line of a channel's books.
    pub(super) fn line(&mut self, line: &ChannelLine) -> Option<Violation> {
        let (key, ours, what) = match (line.kind.as_str(), &line.refund_no) {
            ("refund", Some(refund_no)) => (refund_no, self.refunds.get_mut(refund_no), "refund"),
            _ => (&line.channel_order_no, self.captures.get_mut(&line.channel_order_no), "capture"),
        };
        let Some(ours) = ours else {
            let Err(instead) = self.record.explains(line) else { return None };
            let detail = format!(
                "{} has a {what} of {} fen under {key}, which no row of ours knows{instead}",
                line.channel, line.amount_fen
            );
            return Some(Violation::general("unknown_at_home", detail));
        };
        let (code, detail) = if ours.channel != line.channel {
            if self.record.explains(line).is_ok() {
                return None;
            }
            ("other_channel", format!("{key} is ours at {}, and {} has it", ours.channel, line.channel))
        } else if ours.seen {
            ("twice_at_channel", format!("{} has two {what}s under {key}", line.channel))
        } else {
            ours.seen = true;
            match ours.fen {
                Some(fen) if fen == line.amount_fen => return None,
                None if ours.open => return None, // the channel is ahead of us; evidence is on its way
                Some(fen) => (
                    "amount_differs",
                    format!(
                        "{what} {key}: ours says {fen} fen, {} says {} fen",
                        line.channel, line.amount_fen
                    ),
                ),
                None => (
                    "forgotten",
                    format!(
                        "{} holds a {what} of {} fen under {key}, and ours says there was none",
                        line.channel, line.amount_fen
                    ),
                ),
            }
        };
        Some(Violation::of(code, &ours.order, detail))
    }

    /// What we say and no line said.
    pub(super) fn missing(&self) -> Vec<Violation> {
        let mut found = self.record.missing();
        for (what, all) in [("capture", &self.captures), ("refund", &self.refunds)] {
            let mut missing: Vec<(&String, &Ours)> =
                all.iter().filter(|(_, ours)| ours.fen.is_some() && !ours.seen).collect();
            missing.sort_by_key(|(key, _)| *key);
            for (key, ours) in missing {
                let detail = format!(
                    "order {}: we hold a {what} of {} fen under {key}, which {} does not have",
                    ours.order,
                    ours.fen.unwrap_or(0),
                    ours.channel
                );
                found.push(Violation::of("unknown_at_channel", &ours.order, detail));
            }
        }
        found
    }
}
