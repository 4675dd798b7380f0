//! The three texts that CARD1 signs, and their codes (protocol B2).
//!
//! The label in the first line keeps a request's code from passing as an answer's. Codes compare in constant time.

use keys::{BadSignature, HmacKey, sha256_hex};

use crate::counters;

/// Who signs, with what.
pub(super) struct Signing {
    pub(super) merchant: String,
    pub(super) key_id: String,
    key: HmacKey,
}

impl Signing {
    pub(super) fn new(merchant: String, key_id: String, secret: &str) -> Signing {
        Signing { merchant, key_id, key: HmacKey::new(secret.as_bytes()) }
    }

    /// The code of our request, lower-case hex.
    pub(super) fn request(
        &self,
        timestamp: &str,
        nonce: &str,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> String {
        let text = self.text("CARD1-REQUEST", timestamp, nonce, &[method, target, &sha256_hex(body)]);
        counters::hmac();
        hex::encode(self.key.sign(text.as_bytes()))
    }

    /// Whether `code` is the gateway's over its answer to our request with this nonce.
    pub(super) fn check_answer(
        &self,
        code: &str,
        timestamp: &str,
        nonce: &str,
        status: u16,
        body: &[u8],
    ) -> Result<(), BadSignature> {
        let text =
            self.text("CARD1-RESPONSE", timestamp, nonce, &[&format!("{status:03}"), &sha256_hex(body)]);
        self.check(&text, code)
    }

    /// Whether `code` is the gateway's over its call to `target` at our side.
    pub(super) fn check_call(
        &self,
        code: &str,
        timestamp: &str,
        nonce: &str,
        target: &str,
        body: &[u8],
    ) -> Result<(), BadSignature> {
        let text = self.text("CARD1-NOTIFY", timestamp, nonce, &["POST", target, &sha256_hex(body)]);
        self.check(&text, code)
    }

    fn text(&self, label: &str, timestamp: &str, nonce: &str, rest: &[&str]) -> String {
        let mut text = [label, &self.merchant, &self.key_id, timestamp, nonce].join("\n");
        for line in rest {
            text.push('\n');
            text.push_str(line);
        }
        text
    }

    fn check(&self, text: &str, code: &str) -> Result<(), BadSignature> {
        // Only lower-case hex is the protocol's; `hex` would take both.
        let lower = !code.bytes().any(|c| c.is_ascii_uppercase());
        let code = hex::decode(code).ok().filter(|_| lower).ok_or(BadSignature)?;
        counters::hmac();
        self.key.verify(text.as_bytes(), &code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C1: &str = r#"{"order_no":"P20260101000001","account_type":"STUDENT_NO","account_no":"2024000001","amount":1250,"currency":"CNY","subject":"宿舍电费","notify_url":"https://pay.example.com/n/card"}"#;
    const PAYMENT: &str = r#"{"order_no":"P20260101000001","vendor_no":"V0000000001","account_type":"STUDENT_NO","account_no":"2024000001","amount":1250,"currency":"CNY","state":"SUCCEEDED","fail_code":"","subject":"宿舍电费","attach":"","created_at":"2026-01-01T08:00:00+08:00","finished_at":"2026-01-01T08:00:00+08:00","refunded_amount":0,"balance_after":998750}"#;

    fn signing() -> Signing {
        Signing::new("M1001".into(), "k1".into(), "sandbox-secret-do-not-use-0123456789abcdef")
    }

    #[test]
    fn the_worked_requests_get_the_worked_codes() {
        let signing = signing();
        let c1 =
            signing.request("1767225600", "n-0000000000000001", "POST", "/ccp/v1/payments", C1.as_bytes());
        assert_eq!(c1, "65476bd7e8ddc0487fc336a3c68e03c554e4e9a181a8f3272736c9ab773b13ce");
        let target = "/ccp/v1/payments/P20260101000001";
        let c3 = signing.request("1767225605", "n-0000000000000002", "GET", target, b"");
        assert_eq!(c3, "7d4fcfeb04157cd2b5d93753c147de51edcf77da3a33fbe2b8f1d99b2235282c");
    }

    #[test]
    fn the_worked_answer_and_call_are_genuine_and_anything_changed_is_not() {
        let signing = signing();
        let body = format!(r#"{{"code":"OK","message":"","request_id":"r-1","payment":{PAYMENT}}}"#);
        let code = "9e49124a182717b7d93f951c0256e888ebb0f900c0087aa7a70e17603845bc67";
        let (time, nonce) = ("1767225601", "n-0000000000000001");
        assert_eq!(signing.check_answer(code, time, nonce, 200, body.as_bytes()), Ok(()));
        assert!(signing.check_answer(code, time, "n-0000000000000002", 200, body.as_bytes()).is_err());
        assert!(signing.check_answer(code, time, nonce, 503, body.as_bytes()).is_err());
        assert!(signing.check_answer(code, "1767225602", nonce, 200, body.as_bytes()).is_err());
        assert!(
            signing.check_answer(code, time, nonce, 200, body.replace("1250", "1251").as_bytes()).is_err()
        );
        assert!(signing.check_answer(&code.to_uppercase(), time, nonce, 200, body.as_bytes()).is_err());
        assert!(signing.check_answer("", time, nonce, 200, body.as_bytes()).is_err());

        let body = format!(
            r#"{{"event_id":"e-1","event_type":"payment.succeeded","occurred_at":"2026-01-01T08:00:00+08:00","payment":{PAYMENT}}}"#
        );
        let code = "1b6aa61e493d2edf5ce80936866ebe9e01ea47f026a80c21a28f86d75adc4526";
        let check =
            |target| signing.check_call(code, "1767225610", "c-0000000000000001", target, body.as_bytes());
        assert_eq!(check("/n/card"), Ok(()));
        assert!(check("/n/card?x=1").is_err());
    }
}
