//! Orders as a campus makes them, by the real rules: paid, refunded, paid twice, declined, cancelled, expired, still
//! open, under suspicion, with a refund from a bill. The same number gives the same order. Shared by tests and the example that fills a store.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by tests that each use a part"
)]

use std::sync::Arc;

use domain::{
    Answer, AttemptNo, Capture, ChannelId, ChannelKind, Credential, Evidence, EvidenceSource, Found,
    MerchantId, Money, OrderId, Refusal, Scene, Timestamp,
    channel::{Fault, RefundFound},
    order::{Event, Fact, Order, OrderRequest, Payer, Rules, accept, announcements, decide},
    routing::Choice,
};
use store::{Cause, Entry, OrderCommit, OutboxNew, WebhookTry};

/// The first order's moment: a lunch on 1 January 2026.
pub const BEGIN_MS: u64 = 1_767_240_000_000;
/// Kinds of lives before they repeat.
pub const KINDS: u64 = 13;

/// The id of order `n`, a millisecond after the one before, as UUID version 7 has it.
pub fn id(n: u64) -> OrderId {
    // A spread that is the same every time.
    let noise = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    OrderId::from_u128((u128::from(BEGIN_MS + n) << 80) | (0x7 << 76) | (0x8 << 60) | (noise >> 4))
}

fn fen(fen: i64) -> Money {
    Money::from_fen(fen).unwrap()
}

fn no(n: u8) -> AttemptNo {
    AttemptNo::new(n).unwrap()
}

/// An order on its way.
pub struct Life {
    order: Arc<Order>,
    at: Timestamp,
    n: u64,
    entries: Vec<Entry>,
}

impl Life {
    fn begin(n: u64) -> Life {
        let at = Timestamp::from_micros(i64::try_from((BEGIN_MS + n) * 1000 + n % 1000).unwrap());
        let request = Arc::new(OrderRequest {
            order_no: format!("C20260101-{n:07}"),
            merchant_id: MerchantId::new(&format!("canteen-{}", n % 12)).unwrap(),
            amount: fen(amount(n)),
            description: "牛肉面 加蛋".to_owned(),
            payer: Payer {
                id: format!("stu-2023{:05}", n % 40_000),
                account_type: "student".to_owned(),
                openid: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".to_owned()),
                accounts: std::collections::BTreeMap::new(),
                client_ip: None,
            },
            scene: Scene::Native,
            channels: Vec::new(),
            consents: Vec::new(),
            keep_late: false,
            part_of: None,
            notify_url: (n % 7 != 3).then(|| "http://127.0.0.1:7000/paid".to_owned()),
            expires_at: at.plus(std::time::Duration::from_secs(900)),
        });
        let decision = accept(id(n), request, at);
        let mut life = Life { order: Arc::new(decision.next), at, n, entries: Vec::new() };
        life.commit(decision.facts, "accepted", "api");
        life
    }

    fn commit(&mut self, facts: Vec<Fact>, event: &str, source: &str) {
        let outbox = announcements(&facts).into_iter().enumerate().map(|(i, a)| OutboxNew {
            id: format!("{}-{}-{i}", self.order.id, self.order.version),
            kind: a.kind().to_owned(),
            payload: payload(&self.order, a.kind(), self.at),
            url: self.order.request.notify_url.clone(),
        });
        self.entries.push(Entry::Order(Box::new(OrderCommit {
            cause: Cause::new(event, source, &format!("ref-{}", self.n)),
            at: self.at,
            body_hash: (self.order.version == 1).then(|| format!("{:064x}", self.n)),
            facts,
            before_version: self.order.version - 1,
            next: self.order.clone(),
            outbox: outbox.collect(),
        })));
    }

    fn hear(mut self, after_ms: u64, event: &Event) -> Life {
        self.at = self.at.plus(std::time::Duration::from_millis(after_ms));
        let decision = decide(&self.order, event, self.at, &Rules::default()).unwrap();
        assert!(!decision.facts.is_empty(), "{event:?} said nothing to {:?}", self.order);
        self.order = Arc::new(decision.next);
        self.commit(decision.facts, event.label(), "query");
        self
    }

    fn routed(self, channel: &str, kind: ChannelKind) -> Life {
        let channel = ChannelId::new(channel).unwrap();
        let choice = Choice::Use {
            channel,
            kind,
            reason: "first in order and healthy".to_owned(),
            hedge_at_once: false,
        };
        self.hear(1, &Event::Routed(choice))
    }

    fn shown(self, n: u8) -> Life {
        let code_url = format!("weixin://wxpay/bizpayurl?pr={:012x}", self.n);
        let answer = Answer::Accepted(Some(Credential::Qr { code_url }));
        self.hear(60, &Event::Prepaid { no: no(n), answer, only_call: true })
    }

    fn found(self, n: u8, found: Found) -> Life {
        let source =
            if self.n.is_multiple_of(2) { EvidenceSource::Notification } else { EvidenceSource::Query };
        let evidence = Evidence { source, reference: format!("n-{}", self.n), found };
        self.hear(8_000, &Event::Found { no: no(n), evidence })
    }

    fn captured(self, n: u8) -> Life {
        let capture =
            Capture { amount: fen(amount(self.n)), trade_no: format!("42000{:018}{n}", self.n), at: self.at };
        self.found(n, Found::Captured(capture))
    }

    fn refund(self, backend_no: &str, amount: i64) -> Life {
        let (backend_no, reason) = (backend_no.to_owned(), "no egg".to_owned());
        let amount = fen(amount);
        self.hear(60_000, &Event::RefundAsked { backend_no, amount, reason, besides_taken_over: false })
    }

    fn refunded(self, n: u8) -> Life {
        let refund_no = self.order.id.refund_no(n);
        let amount = self.order.refund(&refund_no).unwrap().amount;
        let channel_refund_id = format!("50300{:018}{n}", self.n);
        let answer = Answer::Settled(RefundFound::Succeeded { channel_refund_id, amount, at: self.at });
        self.hear(900, &Event::RefundAnswered { refund_no, answer })
    }

    fn adopted(self, place: u8, amount: i64) -> Life {
        let (refund_no, channel_refund_id) =
            (self.order.id.refund_no(place), format!("50301{:018}{place}", self.n));
        let at = self.at;
        self.hear(
            90_000_000,
            &Event::RefundAdopted { refund_no, no: no(1), amount: fen(amount), channel_refund_id, at },
        )
    }

    fn told(mut self) -> Vec<Entry> {
        let ids: Vec<String> = self
            .entries
            .iter()
            .filter_map(|entry| if let Entry::Order(commit) = entry { Some(&commit.outbox) } else { None })
            .flatten()
            .filter(|out| out.url.is_some())
            .map(|out| out.id.clone())
            .collect();
        for webhook_id in ids {
            self.entries.push(Entry::WebhookTry(WebhookTry {
                webhook_id,
                since: self.at,
                at: self.at,
                status: Some(200),
                error: None,
                took_ms: 3,
                delivered: true,
                next_at: None,
            }));
        }
        self.entries
    }
}

fn amount(n: u64) -> i64 {
    850 + i64::try_from(n * 37 % 2400).unwrap()
}

fn payload(order: &Order, kind: &str, at: Timestamp) -> String {
    // As long as the service's own.
    format!(
        "{{\"type\":\"{kind}\",\"timestamp\":\"{at}\",\"data\":{{\"id\":\"{}\",\"order_no\":\"{}\",\"merchant_id\":\"{}\",\
         \"state\":\"{}\",\"amount_fen\":{},\"truth\":{{\"code\":\"charged\",\"sentence\":\"The payment arrived.\",\
         \"next_step\":\"Nothing to do: the meal is being made.\"}},\"attempts\":[{{\"no\":1,\"channel\":\"wechat\",\
         \"state\":\"captured\",\"channel_order_no\":\"{}01\"}}]}}}}",
        order.id,
        order.request.order_no,
        order.request.merchant_id,
        order.state.as_str(),
        order.request.amount.fen(),
        order.id
    )
}

/// Everything that order `n` makes durable in its life, in its order.
pub fn life(n: u64) -> Vec<Entry> {
    let open = || Life::begin(n).routed("wechat", ChannelKind::Credential);
    let paid = || open().shown(1).captured(1);
    match n % KINDS {
        // A refund in two parts.
        5 => paid().refund("R1", 100).refunded(1).refund("R2", 200).refunded(2).told(),
        // A refund that is under way.
        6 => paid().refund("R1", amount(n)).entries,
        // Paid twice: the close stayed silent, the payer was let on, and the late capture goes back.
        7 => open()
            .shown(1)
            .hear(500, &Event::SwitchAsked { to: None, consent: false })
            .hear(3_500, &Event::CloseUnanswered { no: no(1) })
            .routed("alipay", ChannelKind::Credential)
            .shown(2)
            .captured(2)
            .captured(1)
            .refunded(1)
            .told(),
        // Declined by one channel, paid over another.
        8 => {
            let refusal = Refusal {
                code: "LIMIT".to_owned(),
                message: "over the limit".to_owned(),
                fault: Fault::Payer,
            };
            let refused = Event::Prepaid { no: no(1), answer: Answer::Declined(refusal), only_call: true };
            open().hear(40, &refused).routed("alipay", ChannelKind::Credential).shown(2).captured(2).told()
        }
        9 => open().shown(1).hear(4_000, &Event::CancelAsked).found(1, Found::Closed).told(),
        // Past its end, and no word of the channel: under suspicion.
        10 => open().shown(1).hear(901_000, &Event::Tick).hear(61_000, &Event::Tick).entries,
        11 => open().shown(1).entries,
        // A refund that was taken over from a bill, and one that was asked for after it.
        12 => paid().adopted(2, 300).refund("R9", 100).refunded(3).told(),
        _ => paid().told(),
    }
}
