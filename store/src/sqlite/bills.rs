//! Reconciliation's part of the embedded body: a file for each kind of row, and the trait that puts them together.

mod differences;
mod gaps;
mod lines;
mod ours;
mod runs;

use std::collections::HashSet;

use async_trait::async_trait;
use domain::{
    OrderId, Timestamp,
    reconciliation::{self, BillLine, DifferenceKind, Ours, Subject, Theirs},
};

use self::ours::ours;
use super::SqliteStore;
use crate::{Act, BillRun, Bills, Difference, DifferenceFilter, DifferenceStep, Error, Gap, Page, RunFilter};

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::micros)
}

fn whole(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A stored word as what it means.
fn read<T>(table: &'static str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    parse(word).ok_or_else(|| Error::corrupt(table, format!("unknown word {word:?}")))
}

#[async_trait]
impl Bills for SqliteStore {
    async fn bill_run_want(
        &self,
        channel: &str,
        day: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<BillRun, Error> {
        self.write("bill_run_want", |c| runs::want(c, channel, day, by, now))?.try_into()
    }

    async fn bill_runs_list(&self, filter: &RunFilter) -> Result<Vec<BillRun>, Error> {
        let filter = filter.clone();
        let rows = self.read("bill_runs_list", move |c| runs::list(c, filter)).await?;
        rows.into_iter().map(BillRun::try_from).collect()
    }

    async fn bill_runs_due(&self, now: Timestamp, n: usize) -> Result<Vec<BillRun>, Error> {
        let rows = self.read("bill_runs_due", move |c| runs::due(c, now, n)).await?;
        rows.into_iter().map(BillRun::try_from).collect()
    }

    async fn bill_run_claim(
        &self,
        id: i64,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<BillRun>, Error> {
        let row = self.write("bill_run_claim", |c| runs::claim(c, id, owner, now, until))?;
        row.map(BillRun::try_from).transpose()
    }

    async fn bill_run_save(&self, run: &BillRun) -> Result<bool, Error> {
        self.write("bill_run_save", |c| runs::save(c, run))
    }

    async fn bill_lines_add(&self, run: &BillRun, lines: &[BillLine]) -> Result<bool, Error> {
        self.write("bill_lines_add", |c| lines::add(c, run, lines))
    }

    async fn differences_add(
        &self,
        run: &BillRun,
        found: &[(reconciliation::Difference, bool)],
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write("differences_add", |c| differences::add(c, run, found, now))
    }

    async fn bill_lines_drop(&self, run: i64, n: usize) -> Result<usize, Error> {
        self.write("bill_lines_drop", |c| lines::drop_some(c, run, n))
    }

    async fn bill_theirs(&self, run: i64, subject: Subject, page: &Page) -> Result<Vec<Theirs>, Error> {
        let page = page.clone();
        self.read("bill_theirs", move |c| lines::theirs(c, run, subject, &page)).await
    }

    async fn bill_numbers_known(
        &self,
        runs: &[i64],
        subject: Subject,
        numbers: &[String],
    ) -> Result<HashSet<String>, Error> {
        let (runs, numbers) = (runs.to_vec(), numbers.to_vec());
        self.read("bill_numbers_known", move |c| lines::known(c, &runs, subject, &numbers)).await
    }

    async fn ours_by_number(&self, subject: Subject, numbers: &[String]) -> Result<Vec<Ours>, Error> {
        let numbers = numbers.to_vec();
        let (rows, of_fixes) = match subject {
            Subject::Payment => {
                let rows = self.read("ours_by_number", move |c| ours::attempts_by_number(c, &numbers));
                (rows.await?, Vec::new())
            }
            Subject::Refund => {
                self.read("ours_by_number", move |c| ours::refunds_by_number(c, &numbers)).await?
            }
        };
        rows.into_iter().map(|row| ours(subject, row)).chain(of_fixes.into_iter().map(Ok)).collect()
    }

    async fn ours_of_orders(&self, orders: &[OrderId]) -> Result<Vec<Ours>, Error> {
        let ids: Vec<String> = orders.iter().map(ToString::to_string).collect();
        let rows = self.read("ours_of_orders", move |c| ours::attempts_of(c, &ids)).await?;
        rows.into_iter().map(|row| ours(Subject::Payment, row)).collect()
    }

    async fn ours_of_span(
        &self,
        subject: Subject,
        channel: &str,
        span: (Timestamp, Timestamp),
        page: &Page,
    ) -> Result<(Vec<Ours>, Option<String>), Error> {
        let (channel, wanted) = (channel.to_owned(), page.clone());
        let rows =
            self.read("ours_of_span", move |c| ours::of_span(c, subject, &channel, span, &wanted)).await?;
        let rows: Vec<Ours> = rows.into_iter().map(|row| ours(subject, row)).collect::<Result<_, _>>()?;
        let next = ours::next(&rows, page);
        Ok((rows, next))
    }

    async fn first_capture_at(&self) -> Result<Option<Timestamp>, Error> {
        let at = self.read("first_capture_at", ours::first_capture_at).await?;
        Ok(at.map(Timestamp::from_micros))
    }

    async fn differences_list(&self, filter: &DifferenceFilter) -> Result<Vec<Difference>, Error> {
        let filter = filter.clone();
        let rows = self.read("differences_list", move |c| differences::list(c, &filter, None)).await?;
        rows.into_iter().map(Difference::try_from).collect()
    }

    async fn difference(&self, id: i64) -> Result<Option<Difference>, Error> {
        let any = DifferenceFilter { limit: 1, ..DifferenceFilter::default() };
        let rows = self.read("difference", move |c| differences::list(c, &any, Some(id))).await?;
        rows.into_iter().next().map(Difference::try_from).transpose()
    }

    async fn differences_count(&self) -> Result<Vec<(String, DifferenceKind, u64)>, Error> {
        let rows = self.read("differences_count", differences::count).await?;
        rows.into_iter().map(differences::counted).collect()
    }

    async fn difference_step(&self, id: i64, next: &DifferenceStep) -> Result<bool, Error> {
        self.write("difference_step", |c| differences::step(c, id, next))
    }

    async fn difference_acts(&self, id: i64) -> Result<Vec<Act>, Error> {
        let rows = self.read("difference_acts", move |c| differences::acts(c, id)).await?;
        let act = |(at, by, act, note)| Act { at: Timestamp::from_micros(at), by, act, note };
        Ok(rows.into_iter().map(act).collect())
    }

    async fn gaps_new(&self, from: Timestamp, to: Timestamp, n: usize) -> Result<Vec<Gap>, Error> {
        let rows = self.read("gaps_new", move |c| gaps::new(c, from.micros(), to.micros(), n)).await?;
        rows.into_iter().map(gaps::gap).collect()
    }

    async fn gap_put(&self, gap: &Gap) -> Result<(), Error> {
        self.write("gap_put", |c| gaps::put(c, gap))
    }

    async fn gaps_list(&self, n: usize) -> Result<Vec<Gap>, Error> {
        let rows = self.read("gaps_list", move |c| gaps::list(c, n)).await?;
        rows.into_iter().map(gaps::gap).collect()
    }

    async fn gaps_count(&self, since: Timestamp) -> Result<Vec<(String, String, u64)>, Error> {
        let rows = self.read("gaps_count", move |c| gaps::count(c, since)).await?;
        Ok(rows.into_iter().map(|(channel, verdict, n)| (channel, verdict, whole(n))).collect())
    }
}
