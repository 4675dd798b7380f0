//! What can go wrong outside of a channel call's answer.

use domain::{ChannelId, channel::Refusal};

use crate::ConfigFault;

/// Why a channel cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has faults; all of them are listed.
    #[error("{}", list(.0))]
    Config(Vec<ConfigFault>),
    /// The channel's keys could not be fetched; trying again may help.
    #[error("channel {channel} is not ready: {problem}")]
    WarmUp {
        /// Which channel.
        channel: ChannelId,
        /// What went wrong.
        problem: String,
    },
}

fn list(faults: &[ConfigFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why there is no bill, by what to do next.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// Not made yet: ask again later (hourly).
    #[error("the bill is not ready yet")]
    NotReady,
    /// The channel says there was no trade that day, or the bill is not made yet: ask once more late, then take it as empty.
    #[error("the channel has no bill for that day")]
    NoBill,
    /// No answer that proves anything: ask again.
    #[error("no answer to rely on: {0}")]
    Silent(String),
    /// The channel refuses; asking again changes nothing.
    #[error("the channel refuses: {} {}", .0.code, .0.message)]
    Declined(Refusal),
    /// The file does not match its hash: fetch it again, page someone if it stays so.
    #[error("the file is not what the channel signed: {0}")]
    Damaged(String),
}
