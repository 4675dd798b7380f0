//! Load for Rushpay, and what it showed.
//!
//! Speaks HTTP only and knows no other room: a [`Scenario`] becomes a plan, the plan is sent to a service
//! whose channels are the sandbox's, and a [`Report`] says what payers saw. Arrivals are an open loop:
//! latencies count from the planned moment, so slow answers cannot hide (no coordinated omission). Starting
//! processes, the audit and the cost of signatures are the caller's; see [`Report::finish`].

mod house;
mod limits;
mod num;
mod payer;
mod plan;
pub mod process;
mod progress;
mod report;
mod run;
mod scenario;
mod sink;
mod tally;
mod watch;
mod wire;

pub use limits::raise_open_files;
pub use payer::Acceptance;
pub use plan::{Behaviour, PlannedOrder, plan};
pub use progress::{Observer, Tick};
pub use report::{
    AuditFigures, ChaosReport, Comparison, GoalResult, Judgement, Mischief, Percentiles, ProcessFigures,
    Report, Weather,
};
pub use run::{RunOptions, RunResult, Target, run};
pub use scenario::{
    ArrivalMode, Arrivals, Basket, Error, FaultChange, FaultSet, Goals, Mix, Node, Payer, Scenario, Spread,
    SwitchGoal, WebhookSink,
};
pub use sink::{SinkCounts, WebhookSecret};
pub use tally::{Clock, Latency, Second, Tally};
pub use watch::{Counters, Switch};
