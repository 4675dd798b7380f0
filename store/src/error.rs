//! What can go wrong, by what the caller does next.

use domain::OrderId;

/// A question was not answered, or the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or could not be reached; asking again later may help.
    #[error("the store did not answer {what}")]
    Query {
        /// The question.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row is not what it must be; a person must look.
    #[error("a row of {table} is corrupt: {problem}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The database file cannot be used; the text names the file and says what to do.
    #[error("{0}")]
    Open(String),
    /// The database file is damaged, or not ours to write: another program's, or a newer version's. Not one byte of it
    /// was changed; the text names the file, what is wrong, and what to do.
    #[error("{0}")]
    Unsound(String),
}

impl Error {
    pub(crate) fn query(what: &'static str) -> impl FnOnce(diesel::result::Error) -> Error {
        move |source| Error::Query { what, source: source.into() }
    }

    pub(crate) fn corrupt(table: &'static str, problem: impl std::fmt::Display) -> Error {
        Error::Corrupt { table, problem: problem.to_string() }
    }
}

/// Why an entry was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The merchant's number is taken.
    #[error("the order number is taken by order {existing}")]
    Duplicate {
        /// By which order.
        existing: OrderId,
        /// The hash of that order's body.
        body_hash: String,
    },
    /// Another writer was here first; load and decide again.
    #[error("the order is at version {present_version} already")]
    Fenced {
        /// The version that is committed.
        present_version: u64,
    },
    /// The row breaks a rule of the tables: a mistake of ours.
    #[error("the entry breaks a rule of the store: {what}")]
    Invalid {
        /// Which.
        what: String,
    },
    /// The whole group failed, or its fate is unknown: disk full, locked, gone. Read the row.
    #[error("the store is unavailable: {what}")]
    Unavailable {
        /// Why.
        what: String,
    },
}
