//! The channels against servers on this machine that answer as told: golden requests, every class of answer,
//! and what happens when the network or the signature fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod campus_card;
mod campus_card_calls;
mod card_fake;
mod golden;
mod server;
mod wechat;
mod wechat_bill;
mod wechat_calls;
mod wechat_certificates;
mod wechat_fake;

use domain::{
    Answer, AttemptNo, ChannelOrderNo, Found, Money, OrderId, RefundNo, Scene, Timestamp,
    channel::{PrepayAsk, RefundAsk, RefundFound, TradeKey},
};

/// An answer in one short line, for tables.
fn short<A: std::fmt::Debug, S: Brief>(answer: &Answer<A, S>) -> String {
    match answer {
        Answer::Accepted(what) => format!("accepted {what:?}"),
        Answer::Settled(found) => format!("settled {}", found.brief()),
        Answer::Declined(refusal) => format!("declined {} {:?}", refusal.code, refusal.fault),
        Answer::NeverSent(_) => "never sent".to_owned(),
        Answer::Silent(_) => "silent".to_owned(),
    }
}

trait Brief {
    fn brief(&self) -> String;
}

impl Brief for Found {
    fn brief(&self) -> String {
        match self {
            Found::Captured(c) => format!("captured {} {} {}", c.amount.fen(), c.trade_no, c.at),
            Found::Closed => "closed".to_owned(),
            Found::Declined(refusal) => format!("declined {} {:?}", refusal.code, refusal.fault),
        }
    }
}

impl Brief for RefundFound {
    fn brief(&self) -> String {
        match self {
            RefundFound::Succeeded { channel_refund_id, amount, at } => {
                format!("refunded {} {channel_refund_id} {at}", amount.fen())
            }
            RefundFound::Failed { code } => format!("failed {code}"),
        }
    }
}

fn order_id() -> OrderId {
    OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)
}

fn number() -> ChannelOrderNo {
    order_id().channel_order_no(AttemptNo::new(1).unwrap())
}

fn trade_key() -> TradeKey {
    let at = Timestamp::from_secs;
    TradeKey { number: number(), planned_at: at(1_767_225_600), expires_at: at(1_767_226_500) }
}

fn refund_no() -> RefundNo {
    order_id().refund_no(1)
}

fn prepay_ask(scene: Scene) -> PrepayAsk {
    PrepayAsk {
        channel_order_no: number(),
        planned_at: Timestamp::from_secs(1_767_225_600),
        amount: Money::from_fen(1250).unwrap(),
        description: "牛肉面".to_owned(),
        scene,
        payer_id: "2024000001".to_owned(),
        account_type: "student".to_owned(),
        openid: Some("oSANDBOX0000000000000000001".to_owned()),
        client_ip: Some("10.0.0.7".to_owned()),
        expires_at: Timestamp::from_secs(1_767_226_500),
    }
}

fn refund_ask() -> RefundAsk {
    RefundAsk {
        refund_no: refund_no(),
        booked_at: Timestamp::from_secs(1_767_225_700),
        trade_no: "T1".to_owned(),
        channel_order_no: number(),
        amount: Money::from_fen(250).unwrap(),
        captured: Money::from_fen(1250).unwrap(),
        reason: "paid twice".to_owned(),
    }
}
