//! What WeChat says of a trade, in answers and callbacks alike (protocol sections 4.2 and 5).

use domain::{
    ChannelOrderNo, Found, Money, Refusal, Timestamp,
    channel::{Capture, Fault, StillOpen},
};
use serde::Deserialize;

/// The members that matter; everything but the first four may be missing until the trade is paid.
#[derive(Debug, Deserialize)]
pub(super) struct Trade {
    pub(super) mchid: String,
    #[serde(default)]
    pub(super) appid: Option<String>,
    pub(super) out_trade_no: String,
    pub(super) trade_state: String,
    #[serde(default)]
    trade_state_desc: Option<String>,
    #[serde(default)]
    transaction_id: Option<String>,
    #[serde(default)]
    success_time: Option<String>,
    #[serde(default)]
    amount: Option<Amount>,
}

#[derive(Debug, Deserialize)]
struct Amount {
    #[serde(default)]
    total: Option<i64>,
}

/// Open or final.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Status {
    Open(StillOpen),
    Final(Found),
}

impl Trade {
    /// Reads the state. `signed_at` stands in for a missing time of payment.
    ///
    /// An error means that a paid trade lacks what makes it evidence (amount or trade number).
    pub(super) fn status(&self, signed_at: Timestamp) -> Result<Status, String> {
        Ok(match self.trade_state.as_str() {
            // A refunded trade was paid; what was refunded is told by the refunds.
            "SUCCESS" | "REFUND" => Status::Final(Found::Captured(self.capture(signed_at)?)),
            "CLOSED" | "REVOKED" => Status::Final(Found::Closed),
            "PAYERROR" => Status::Final(Found::Declined(Refusal {
                code: self.trade_state.clone(),
                message: self.trade_state_desc.clone().unwrap_or_default(),
                fault: Fault::Payer,
            })),
            "NOTPAY" | "USERPAYING" | "ACCEPT" => Status::Open(StillOpen::Pending),
            new => {
                tracing::warn!(
                    state = new,
                    number = self.out_trade_no,
                    "a new WeChat trade state, taken as open"
                );
                Status::Open(StillOpen::Pending)
            }
        })
    }

    fn capture(&self, signed_at: Timestamp) -> Result<Capture, String> {
        let total = self.amount.as_ref().and_then(|a| a.total).ok_or("a paid trade without amount.total")?;
        let trade_no = self.transaction_id.clone().filter(|no| !no.is_empty());
        Ok(Capture {
            amount: Money::from_fen(total).map_err(|e| e.to_string())?,
            trade_no: trade_no.ok_or("a paid trade without transaction_id")?,
            at: self.success_time.as_deref().and_then(Timestamp::parse).unwrap_or(signed_at),
        })
    }

    /// What is wrong if this is not our trade under this number.
    pub(super) fn mismatch(
        &self,
        mchid: &str,
        appid: &str,
        number: Option<&ChannelOrderNo>,
    ) -> Option<String> {
        if self.mchid != mchid {
            return Some(format!("mchid is {:?}", self.mchid));
        }
        if let Some(other) = self.appid.as_deref().filter(|id| !id.is_empty() && *id != appid) {
            return Some(format!("appid is {other:?}"));
        }
        let other = number.filter(|number| number.as_str() != self.out_trade_no)?;
        Some(format!("out_trade_no is {:?}, asked for {other}", self.out_trade_no))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(state: &str) -> Trade {
        serde_json::from_value(serde_json::json!({
            "mchid": "1", "appid": "wx1", "out_trade_no": "T00001", "trade_state": state, "transaction_id": "42",
            "success_time": "2026-01-01T08:00:09+08:00", "amount": {"total": 1250, "payer_total": 1000}
        }))
        .unwrap()
    }

    #[test]
    fn every_state_is_open_or_final_and_a_new_one_is_open() {
        let now = Timestamp::from_secs(1);
        for state in ["NOTPAY", "USERPAYING", "ACCEPT", "NEWSTATE", ""] {
            assert_eq!(trade(state).status(now), Ok(Status::Open(StillOpen::Pending)), "{state}");
        }
        for state in ["CLOSED", "REVOKED"] {
            assert_eq!(trade(state).status(now), Ok(Status::Final(Found::Closed)), "{state}");
        }
        for state in ["SUCCESS", "REFUND"] {
            let capture = Capture {
                amount: Money::from_fen(1250).unwrap(),
                trade_no: "42".into(),
                at: Timestamp::from_secs(1_767_225_609),
            };
            assert_eq!(trade(state).status(now), Ok(Status::Final(Found::Captured(capture))), "{state}");
        }
        assert!(matches!(trade("PAYERROR").status(now), Ok(Status::Final(Found::Declined(_)))));
    }

    #[test]
    fn a_paid_trade_without_amount_or_number_is_no_evidence() {
        let now = Timestamp::from_secs(1);
        let mut paid = trade("SUCCESS");
        paid.amount = None;
        assert!(paid.status(now).is_err());
        let mut paid = trade("SUCCESS");
        paid.transaction_id = Some(String::new());
        assert!(paid.status(now).is_err());
        let mut paid = trade("SUCCESS");
        paid.success_time = None;
        assert!(matches!(paid.status(now), Ok(Status::Final(Found::Captured(c))) if c.at == now));
    }

    #[test]
    fn another_merchants_trade_is_not_ours() {
        let number = ChannelOrderNo::new("T00001").unwrap();
        assert_eq!(trade("SUCCESS").mismatch("1", "wx1", Some(&number)), None);
        assert!(trade("SUCCESS").mismatch("2", "wx1", Some(&number)).is_some());
        assert!(trade("SUCCESS").mismatch("1", "wx2", Some(&number)).is_some());
        assert!(
            trade("SUCCESS").mismatch("1", "wx1", Some(&ChannelOrderNo::new("T00002").unwrap())).is_some()
        );
    }
}
