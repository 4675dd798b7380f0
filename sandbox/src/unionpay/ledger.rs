//! Transactions: payments, refunds, undos; each named by its number and its time.

use std::collections::{HashMap, HashSet};

use domain::Timestamp;

use super::fields::Fields;

/// Where a transaction stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Waits for the payer.
    Waits,
    /// Money moved.
    Done { at: Timestamp },
    /// It never will.
    Failed,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Txn {
    /// The request, for what is repeated in notifications and files.
    pub(crate) asked: Fields,
    pub(crate) amount: i64,
    pub(crate) query_id: String,
    pub(crate) trace_no: String,
    pub(crate) credential: String,
    pub(crate) pay_until: Option<Timestamp>,
    pub(crate) state: State,
    /// What a refund or an undo takes back, by `queryId`.
    pub(crate) original: Option<String>,
}

impl Txn {
    pub(crate) fn no(&self) -> &str {
        self.asked.get("orderId")
    }

    pub(crate) fn is_payment(&self) -> bool {
        self.asked.get("txnType") == "01"
    }

    /// A payment whose last moment is over will not be paid.
    fn tick(&mut self, now: Timestamp) {
        if self.state == State::Waits && self.pay_until.is_some_and(|until| now > until) {
            self.state = State::Failed;
        }
    }
}

type Key = (String, String);

/// All transactions.
#[derive(Default)]
pub(crate) struct Ledger {
    by_key: HashMap<Key, Txn>,
    by_query_id: HashMap<String, Key>,
    by_credential: HashMap<String, Key>,
    days: HashSet<Key>,
}

impl Ledger {
    /// False if the number was used before on the day of `txnTime`.
    pub(crate) fn put(&mut self, txn: Txn) -> bool {
        let (no, time) = (txn.no().to_owned(), txn.asked.get("txnTime").to_owned());
        let day: String = time.chars().take(8).collect();
        if !self.days.insert((no.clone(), day)) {
            return false;
        }
        let key = (no, time);
        self.by_query_id.insert(txn.query_id.clone(), key.clone());
        if !txn.credential.is_empty() {
            self.by_credential.insert(txn.credential.clone(), key.clone());
        }
        self.by_key.insert(key, txn);
        true
    }

    pub(crate) fn get(&mut self, no: &str, time: &str, now: Timestamp) -> Option<&mut Txn> {
        let txn = self.by_key.get_mut(&(no.to_owned(), time.to_owned()))?;
        txn.tick(now);
        Some(txn)
    }

    pub(crate) fn by_query_id(&mut self, id: &str, now: Timestamp) -> Option<&mut Txn> {
        let (no, time) = self.by_query_id.get(id)?.clone();
        self.get(&no, &time, now)
    }

    pub(crate) fn by_credential(&mut self, credential: &str, now: Timestamp) -> Option<&mut Txn> {
        let (no, time) = self.by_credential.get(credential)?.clone();
        self.get(&no, &time, now)
    }

    /// What was taken back of a payment.
    pub(crate) fn taken_back(&self, query_id: &str) -> i64 {
        self.by_key.values().filter(|t| t.original.as_deref() == Some(query_id)).map(|t| t.amount).sum()
    }

    /// Everything done, in the order of its numbers.
    pub(crate) fn done(&self) -> Vec<(&Txn, Timestamp)> {
        let at = |txn: &Txn| if let State::Done { at } = txn.state { Some(at) } else { None };
        let mut all: Vec<_> = self.by_key.values().filter_map(|txn| Some((txn, at(txn)?))).collect();
        all.sort_by(|a, b| a.0.query_id.cmp(&b.0.query_id));
        all
    }
}
