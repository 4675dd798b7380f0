//! Whatever bytes arrive, as an answer or as a call: there is an answer, no panic, and nothing is believed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use channels::{Channel, NotificationCall};
use domain::{Answer, Scene, Timestamp};
use proptest::prelude::*;

use super::{NOW, Served, alipay, campus_card, unionpay, wechat};
use crate::{
    prepay_ask, refund_ask,
    server::{Reply, Server},
    trade_key,
};

/// What a server answers; names are those that the channels look at.
fn any_answer() -> impl Strategy<Value = Served> {
    let name = prop_oneof![
        Just("Wechatpay-Timestamp"),
        Just("Wechatpay-Nonce"),
        Just("Wechatpay-Serial"),
        Just("Wechatpay-Signature"),
        Just("Content-Type"),
        Just("X-Card-Merchant"),
        Just("X-Card-Key"),
        Just("X-Card-Timestamp"),
        Just("X-Card-Nonce"),
        Just("X-Card-Signature"),
        Just("Request-ID"),
        Just("Retry-After"),
    ];
    let value =
        prop_oneof!["[ -~]{0,60}", Just(NOW.to_string()), Just("M1001".to_owned()), Just("k1".to_owned())];
    let headers = proptest::collection::vec((name, value.prop_map(|v| v.trim().to_owned())), 0..6);
    // These carry no body on the wire.
    let status = (200_u16..600).prop_map(|s| if [204, 304].contains(&s) { 200 } else { s });
    (status, headers, any_body()).prop_map(|(status, headers, body)| Served::new(status, headers, body))
}

/// Noise, text, and the frames in which the channels wrap what they say.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let text = ".{0,120}".prop_map(String::into_bytes);
    let framed = (0_usize..5, ".{0,40}", any::<i64>()).prop_map(|(frame, word, amount)| {
        let word = serde_json::to_string(&word).unwrap();
        match frame {
            0 => format!("{{\"code\":{word},\"payment\":{{\"order_no\":{word},\"amount\":{amount},\"state\":{word}}}}}"),
            1 => format!("{{\"alipay_trade_query_response\":{{\"code\":\"10000\",\"total_amount\":{word}}},\"sign\":{word}}}"),
            2 => format!("version=5.1.0&signMethod=01&respCode=00&txnAmt={amount}&signPubKeyCert={word}&signature={word}"),
            3 => format!("{{\"trade_state\":\"SUCCESS\",\"amount\":{{\"total\":{amount}}},\"code\":{word}}}"),
            _ => format!("{{\"hash_type\":\"SHA1\",\"hash_value\":{word},\"download_url\":{word}}}"),
        }
        .into_bytes()
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), text, framed]
}

fn believed<A, S>(answer: &Answer<A, S>) -> bool {
    matches!(answer, Answer::Settled(_))
}

/// Every call of the channel; true if any of them was taken for a final word.
async fn anything_believed(channel: &dyn Channel) -> bool {
    let (trade, refund) = (trade_key(), refund_ask());
    let mut any = channel.bill(jiff::civil::date(2026, 1, 1)).await.is_ok();
    for scene in [Scene::Native, Scene::Jsapi, Scene::H5] {
        any |= believed(&channel.prepay(&prepay_ask(scene)).await);
    }
    any |= believed(&channel.query(&trade).await) | believed(&channel.close(&trade).await);
    any |= believed(&channel.refund(&refund).await) | believed(&channel.refund_query(&refund).await);
    any | believed(&channel.probe().await)
}

struct House {
    runtime: tokio::runtime::Runtime,
    says: Arc<Mutex<Served>>,
    _server: Server,
    wechat: wechat::Made,
    alipay: alipay::Made,
    unionpay: unionpay::Made,
    card: campus_card::Made,
}

impl House {
    fn channels(&self) -> [(&'static str, &dyn Channel); 4] {
        [
            ("wechat", &self.wechat.channel),
            ("alipay", &self.alipay.channel),
            ("unionpay", &self.unionpay.channel),
            ("campus_card", &self.card.channel),
        ]
    }
}

/// Building a channel checks its keys, which is dear in an unoptimised build: one of each for all cases.
fn house() -> House {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let says = Arc::new(Mutex::new(Served::new(200, Vec::new(), Vec::new())));
    let answer = Arc::clone(&says);
    let server = runtime.block_on(Server::start(move |_| {
        let says = answer.lock().unwrap();
        Reply::Http { status: says.status, headers: says.headers.clone(), body: says.body.clone() }
    }));
    let base = server.base.clone();
    House {
        runtime,
        says,
        _server: server,
        wechat: wechat::make(&base),
        alipay: alipay::make(&base),
        unionpay: unionpay::make(&base),
        card: campus_card::make(&base),
    }
}

thread_local!(static HOUSE: House = house());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_answer_to_any_call_of_any_channel_is_read_without_a_panic_and_never_believed(answer in any_answer()) {
        HOUSE.with(|house| {
            *house.says.lock().unwrap() = answer;
            house.runtime.block_on(async {
                for (name, channel) in house.channels() {
                    prop_assert!(!anything_believed(channel).await, "{}", name);
                }
                Ok(())
            })
        })?;
    }

    #[test]
    fn any_call_to_any_channel_is_refused_without_a_panic(answer in any_answer(), method in "[A-Z]{1,7}", target in "/.{0,20}") {
        let headers = answer.headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        let call = NotificationCall { method, target, headers, body: answer.body.into(), remote: None };
        HOUSE.with(|house| {
            for (name, channel) in house.channels() {
                prop_assert!(channel.parse_notification(&call, Timestamp::from_secs(NOW)).is_err(), "{}", name);
            }
            Ok(())
        })?;
    }

    /// A genuine call with some bytes changed, cut off or doubled: refused, or read as what the genuine one said.
    #[test]
    fn a_genuine_call_that_was_tampered_with_is_refused_or_says_the_same(
        at in any::<prop::sample::Index>(), byte: u8, cut: bool, header in any::<prop::sample::Index>(),
        in_header: bool,
    ) {
        let genuine = [wechat::paid(true), alipay::paid(true), unionpay::paid(true), campus_card::paid(true)];
        HOUSE.with(|house| {
            for ((name, channel), call) in house.channels().into_iter().zip(genuine) {
                let now = Timestamp::from_secs(NOW);
                let mut tampered = call.clone();
                if in_header && !tampered.headers.is_empty() {
                    let value = &mut tampered.headers[header.index(call.headers.len())].1;
                    let place = at.index(value.len().max(1));
                    value.truncate(place);
                    value.push(char::from(byte & 0x7f));
                } else {
                    let mut body = call.body.to_vec();
                    let place = at.index(body.len());
                    if cut { body.truncate(place) } else { body[place] = byte }
                    tampered.body = Bytes::from(body);
                }
                if let Ok(heard) = channel.parse_notification(&tampered, now) {
                    // A fresh memory of nonces for the genuine one.
                    let fresh = campus_card::make("http://127.0.0.1:1");
                    let reader: &dyn Channel = if name == "campus_card" { &fresh.channel } else { channel };
                    prop_assert_eq!(&heard, &reader.parse_notification(&call, now).unwrap(), "{}", name);
                }
            }
            Ok(())
        })?;
    }
}
