//! What the store keeps for reconciliation, on the same failing disk: the process dies in the middle of an import, of a
//! comparison or of a fix, and every step is found again at its breakpoint.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use domain::{
    OrderId, Timestamp,
    reconciliation::{self, BillLine, DifferenceKind, Ours, Subject, Theirs},
};
use store::{
    BillRun, Bills, Difference, DifferenceFilter, DifferenceStep, Error, Gap, Page, RunFilter, SqliteStore,
    Store as _,
};

use crate::world::Reality;

/// One in so many writes goes wrong: a run has about ten of them.
const MISCHIEF: f64 = 1.0 / 60.0;

/// Reconciliation's part of the store, as the house sees it.
pub(crate) struct FaultyBills {
    pub(crate) inner: Arc<SqliteStore>,
    pub(crate) reality: Arc<Reality>,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Written,
    Refused,
    AnswerLost,
    DiesBefore,
    DiesAfter,
}

impl FaultyBills {
    fn of(&self) -> &dyn Bills {
        self.inner.bills()
    }

    /// One write: done, not done, or done without anybody's hearing of it.
    async fn write<T>(
        &self,
        what: &'static str,
        write: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let fate = self.reality.with(|world| {
            if world.dead {
                return None;
            }
            if !world.dice.happens(MISCHIEF) {
                return Some(Fate::Written);
            }
            world.count("bill writes gone wrong");
            let weighted = [
                (2.0, Fate::Refused),
                (1.0, Fate::AnswerLost),
                (1.0, Fate::DiesBefore),
                (2.0, Fate::DiesAfter),
            ];
            Some(world.dice.pick(&weighted, Fate::Refused))
        });
        let refused = || Error::Query { what, source: "the simulation says so".into() };
        match fate {
            None => std::future::pending().await,
            Some(Fate::Written) => write.await,
            Some(Fate::Refused) => Err(refused()),
            Some(Fate::AnswerLost) => {
                write.await?;
                Err(refused())
            }
            Some(Fate::DiesBefore) => self.reality.die("crashes before a step of reconciliation").await,
            Some(Fate::DiesAfter) => {
                write.await?;
                self.reality.die("crashes after a step of reconciliation").await
            }
        }
    }
}

#[async_trait]
impl Bills for FaultyBills {
    async fn bill_run_want(
        &self,
        channel: &str,
        day: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<BillRun, Error> {
        self.write("bill_run_want", self.of().bill_run_want(channel, day, by, now)).await
    }

    async fn bill_runs_list(&self, filter: &RunFilter) -> Result<Vec<BillRun>, Error> {
        self.of().bill_runs_list(filter).await
    }

    async fn bill_runs_due(&self, now: Timestamp, limit: usize) -> Result<Vec<BillRun>, Error> {
        self.of().bill_runs_due(now, limit).await
    }

    async fn bill_run_claim(
        &self,
        id: i64,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<BillRun>, Error> {
        self.write("bill_run_claim", self.of().bill_run_claim(id, owner, now, until)).await
    }

    async fn bill_run_save(&self, run: &BillRun) -> Result<bool, Error> {
        self.write("bill_run_save", self.of().bill_run_save(run)).await
    }

    async fn bill_lines_add(&self, run: &BillRun, lines: &[BillLine]) -> Result<bool, Error> {
        self.write("bill_lines_add", self.of().bill_lines_add(run, lines)).await
    }

    async fn differences_add(
        &self,
        run: &BillRun,
        found: &[(reconciliation::Difference, bool)],
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write("differences_add", self.of().differences_add(run, found, now)).await
    }

    async fn bill_lines_drop(&self, run: i64, limit: usize) -> Result<usize, Error> {
        self.of().bill_lines_drop(run, limit).await
    }

    async fn bill_theirs(&self, run: i64, subject: Subject, page: &Page) -> Result<Vec<Theirs>, Error> {
        self.of().bill_theirs(run, subject, page).await
    }

    async fn bill_numbers_known(
        &self,
        runs: &[i64],
        subject: Subject,
        numbers: &[String],
    ) -> Result<HashSet<String>, Error> {
        self.of().bill_numbers_known(runs, subject, numbers).await
    }

    async fn ours_by_number(&self, subject: Subject, numbers: &[String]) -> Result<Vec<Ours>, Error> {
        self.of().ours_by_number(subject, numbers).await
    }

    async fn ours_of_orders(&self, orders: &[OrderId]) -> Result<Vec<Ours>, Error> {
        self.of().ours_of_orders(orders).await
    }

    async fn ours_of_span(
        &self,
        subject: Subject,
        channel: &str,
        span: (Timestamp, Timestamp),
        page: &Page,
    ) -> Result<(Vec<Ours>, Option<String>), Error> {
        self.of().ours_of_span(subject, channel, span, page).await
    }

    async fn first_capture_at(&self) -> Result<Option<Timestamp>, Error> {
        self.of().first_capture_at().await
    }

    async fn differences_list(&self, filter: &DifferenceFilter) -> Result<Vec<Difference>, Error> {
        self.of().differences_list(filter).await
    }

    async fn difference(&self, id: i64) -> Result<Option<Difference>, Error> {
        self.of().difference(id).await
    }

    async fn differences_count(&self) -> Result<Vec<(String, DifferenceKind, u64)>, Error> {
        self.of().differences_count().await
    }

    async fn difference_step(&self, id: i64, step: &DifferenceStep) -> Result<bool, Error> {
        self.write("difference_step", self.of().difference_step(id, step)).await
    }

    async fn difference_acts(&self, id: i64) -> Result<Vec<store::Act>, Error> {
        self.of().difference_acts(id).await
    }

    async fn gaps_new(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Gap>, Error> {
        self.of().gaps_new(from, to, limit).await
    }

    // Hundreds a day, and each harmless: were they to fail as often, a day would be nothing but crashes.
    async fn gap_put(&self, gap: &Gap) -> Result<(), Error> {
        self.of().gap_put(gap).await
    }

    async fn gaps_list(&self, limit: usize) -> Result<Vec<Gap>, Error> {
        self.of().gaps_list(limit).await
    }

    async fn gaps_count(&self, since: Timestamp) -> Result<Vec<(String, String, u64)>, Error> {
        self.of().gaps_count(since).await
    }
}
