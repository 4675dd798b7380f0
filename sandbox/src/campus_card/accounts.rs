//! Accounts: the special students of section B10, those a test sets, and, if wanted, everybody else.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::{CampusCard, wire::Reply};

/// The state of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    #[default]
    Normal,
    Frozen,
    Lost,
    Closed,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Normal => "NORMAL",
            Status::Frozen => "FROZEN",
            Status::Lost => "LOST",
            Status::Closed => "CLOSED",
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Account {
    pub(crate) status: Status,
    pub(crate) balance_fen: i64,
    /// 0: none.
    pub(crate) single_limit_fen: i64,
    /// 0: none.
    pub(crate) daily_limit_fen: i64,
    pub(crate) holder_name: String,
    /// Spent on this business day, and which day that is.
    #[serde(skip)]
    pub(crate) used: (i64, String),
}

impl Account {
    pub(crate) fn used_on(&self, day: &str) -> i64 {
        if self.used.1 == day { self.used.0 } else { 0 }
    }

    /// Spends, or gives back if negative.
    pub(crate) fn spend(&mut self, fen: i64, day: &str) {
        self.balance_fen = self.balance_fen.saturating_sub(fen);
        self.used = (self.used_on(day).saturating_add(fen), day.to_owned());
    }
}

/// All accounts by student number.
pub(crate) struct Accounts {
    each: HashMap<String, Account>,
    /// Everybody else, from their first debit; known only while `unknown_balance` is set.
    guests: HashMap<String, Account>,
    unknown_balance: Option<i64>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        const RICH: i64 = 1_000_000;
        let normal = Account { balance_fen: RICH, ..Account::default() };
        let with = |status| Account { status, ..normal.clone() };
        let mut each: HashMap<String, Account> =
            (1..=14).map(|n| (format!("20240000{n:02}"), normal.clone())).collect();
        each.insert("2024000002".to_owned(), Account { balance_fen: 100, ..Account::default() });
        each.insert("2024000003".to_owned(), with(Status::Frozen));
        each.insert("2024000004".to_owned(), with(Status::Lost));
        each.insert("2024000005".to_owned(), with(Status::Closed));
        let limited = Account { daily_limit_fen: 1_000, single_limit_fen: 500, ..normal };
        each.insert("2024000006".to_owned(), limited);
        Accounts { each, guests: HashMap::new(), unknown_balance: None }
    }
}

impl Accounts {
    pub(crate) fn set(&mut self, no: &str, account: Account) {
        self.each.insert(no.to_owned(), account);
    }

    pub(crate) fn set_unknown_balance(&mut self, balance_fen: Option<i64>) {
        self.unknown_balance = balance_fen;
    }

    /// The account that a debit may use, or that is shown.
    pub(crate) fn open_for(&mut self, kind: &str, no: &str) -> Option<&mut Account> {
        let student = student_of(kind, no)?;
        if self.each.contains_key(student) {
            return self.each.get_mut(student);
        }
        let balance_fen = self.unknown_balance?;
        if kind == "STUDENT_NO" && !self.guests.contains_key(student) {
            self.guests.insert(student.to_owned(), Account { balance_fen, ..Account::default() });
        }
        self.guests.get_mut(student)
    }

    /// The account that was debited and now gets money back, whether or not it could be debited today.
    pub(crate) fn debited(&mut self, kind: &str, no: &str) -> Option<&mut Account> {
        let student = student_of(kind, no)?;
        match self.each.get_mut(student) {
            Some(account) => Some(account),
            None => self.guests.get_mut(student),
        }
    }
}

/// Whose account it is: a card's number is its student's after a `C`.
fn student_of<'a>(kind: &str, no: &'a str) -> Option<&'a str> {
    match kind {
        "STUDENT_NO" => Some(no),
        "CARD_NO" => no.strip_prefix('C'),
        _ => None,
    }
}

/// Section B7.
pub(crate) fn show(me: &CampusCard, kind: &str, no: &str) -> Reply {
    if !matches!(kind, "STUDENT_NO" | "CARD_NO") {
        return Reply::bad(400, "account_type: expected STUDENT_NO or CARD_NO");
    }
    let day = super::ledger::day(me.world.clock.now());
    let mut ledger = me.ledger.lock();
    let Some(account) = ledger.accounts.open_for(kind, no) else {
        return Reply::code_with("CARD_UNKNOWN", None);
    };
    let card_no = format!("C{}", student_of(kind, no).unwrap_or_default());
    let view = json!({
        "account_type": kind, "account_no": no, "card_no": card_no,
        "holder_name_masked": masked(&account.holder_name), "status": account.status.as_str(),
        "balance": account.balance_fen, "single_limit": account.single_limit_fen,
        "daily_limit": account.daily_limit_fen, "daily_used": account.used_on(&day),
    });
    Reply::code_with("OK", Some(("account", view)))
}

fn masked(name: &str) -> String {
    name.chars().enumerate().map(|(n, c)| if n == 0 { c } else { '*' }).collect()
}
