//! A kept bill, checked whole, then imported line by line.
//!
//! It is read twice: first to its end without writing anything, so that a refused file leaves no trace, then in batches
//! of one commit each. A reader thread and the writer hand batches over through a short queue: memory is a few batches.

use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};

use channels::BillRefused;
use domain::reconciliation::{BillKind, BillLine};
use store::{BillRun, RunState, RunStep};
use tokio::sync::mpsc;

use super::{OnProgress, Phase, Progress, Reconciliation, WorkError, parse_day};

/// Lines of one commit: some milliseconds of the store's writer, so that orders hardly wait.
const BATCH: usize = 1_000;
/// Progress is told every so many lines.
const TOLD_EVERY: u64 = 10_000;

enum Read {
    Batch(Vec<BillLine>),
    Refused(BillRefused),
}

#[derive(Default)]
struct Sums {
    lines: i64,
    paid_fen: i64,
    refunded_fen: i64,
    fee_fen: i64,
}

impl Reconciliation {
    /// Reads a kept file to its end; if it is whole, the run is ready to import it.
    pub(super) async fn check(
        &self,
        run: &mut BillRun,
        hash: &str,
        progress: OnProgress<'_>,
    ) -> Result<(), WorkError> {
        let mut sums = Sums::default();
        self.read(run, hash, 0, async |batch: Vec<BillLine>, run: &mut BillRun| {
            for line in &batch {
                sums.lines += 1;
                sums.fee_fen += line.fee_fen;
                match line.kind {
                    BillKind::Payment => sums.paid_fen += line.amount.fen(),
                    BillKind::Refund | BillKind::Reversal => sums.refunded_fen += line.amount.fen(),
                }
            }
            let done = u64::try_from(sums.lines).unwrap_or(0);
            if done.is_multiple_of(TOLD_EVERY) {
                progress(Progress { phase: Phase::Checking, done, total: 0 });
                // The lease must outlast a long file.
                self.save(run).await?;
            }
            Ok(())
        })
        .await?;
        run.state = RunState::Importing;
        run.fetched_at = Some(self.clock.now());
        run.file_bytes = self.files.bytes(hash);
        run.file_hash = Some(hash.to_owned());
        run.problem = None;
        (run.lines, run.paid_fen) = (sums.lines, sums.paid_fen);
        (run.refunded_fen, run.fee_fen) = (sums.refunded_fen, sums.fee_fen);
        (run.line_done, run.matched) = (0, 0);
        self.save(run).await
    }

    /// Imports what is not imported yet, from the breakpoint on.
    pub(super) async fn import(&self, run: &mut BillRun, progress: OnProgress<'_>) -> Result<(), WorkError> {
        let hash = run.file_hash.clone().unwrap_or_default();
        let total = u64::try_from(run.lines).unwrap_or(0);
        // Lines of a file are numbered with its headers; the breakpoint is such a number.
        let mut done = 0_u64;
        self.read(run, &hash, run.line_done, async |batch: Vec<BillLine>, run: &mut BillRun| {
            let Some(last) = batch.last() else { return Ok(()) };
            run.line_done = i64::try_from(last.line).unwrap_or(i64::MAX);
            run.lease_until = self.clock.now().plus(super::LEASE);
            if !self.store.bills().bill_lines_add(run, &batch).await? {
                return Err(WorkError::LeaseLost);
            }
            done += u64::try_from(batch.len()).unwrap_or(0);
            let line_done = u64::try_from(run.line_done).unwrap_or(0).min(total);
            progress(Progress { phase: Phase::Importing, done: line_done.max(done), total });
            Ok(())
        })
        .await?;
        run.state = RunState::Matching;
        (run.step, run.cursor) = (RunStep::default(), String::new());
        self.save(run).await
    }

    /// Reads a kept file on a thread of its own (one that is in memory on this one) and hands the lines after `skip` over in batches.
    async fn read(
        &self,
        run: &mut BillRun,
        hash: &str,
        skip: i64,
        mut take: impl AsyncFnMut(Vec<BillLine>, &mut BillRun) -> Result<(), WorkError>,
    ) -> Result<(), WorkError> {
        let channel = Arc::clone(self.channel(&run.channel)?);
        let day = parse_day(&run.day).unwrap_or_default();
        let mut file = self.files.open(hash)?;
        let skip = usize::try_from(skip).unwrap_or(0);
        if self.files.at_hand() {
            let mut lines = Vec::new();
            let read = channel.read_bill(day, &mut *file, &mut |line| lines.push(line));
            lines.retain(|line: &BillLine| line.line > skip);
            for batch in lines.chunks(BATCH) {
                take(batch.to_vec(), run).await?;
            }
            return read.map_err(WorkError::Refused);
        }
        let (batches, mut from_reader) = mpsc::channel(2);
        let gone = Arc::new(AtomicBool::new(false));
        let reader_gone = Arc::clone(&gone);
        let reader = tokio::task::spawn_blocking(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let hand_over = |batch: &mut Vec<BillLine>| {
                let full = std::mem::replace(batch, Vec::with_capacity(BATCH));
                // The taker failed: it knows why, and the rest of the file is of no interest.
                if batches.blocking_send(Read::Batch(full)).is_err() {
                    reader_gone.store(true, Ordering::Relaxed);
                }
            };
            let read = channel.read_bill(day, &mut *file, &mut |line| {
                if line.line <= skip || reader_gone.load(Ordering::Relaxed) {
                    return;
                }
                batch.push(line);
                if batch.len() == BATCH {
                    hand_over(&mut batch);
                }
            });
            if !batch.is_empty() {
                hand_over(&mut batch);
            }
            if let Err(refused) = read {
                let _taker_failed = batches.blocking_send(Read::Refused(refused));
            }
        });
        let mut outcome = Ok(());
        while let Some(read) = from_reader.recv().await {
            outcome = match read {
                Read::Batch(batch) => take(batch, run).await,
                Read::Refused(refused) => Err(WorkError::Refused(refused)),
            };
            if outcome.is_err() {
                break;
            }
        }
        drop(from_reader);
        let ended = reader.await;
        outcome?;
        ended.map_err(|e| {
            WorkError::Refused(BillRefused { line: 0, problem: format!("the reader gave up: {e}") })
        })
    }
}
