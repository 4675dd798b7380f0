//! What every store promises. A new body gets a line in `each_store` and nothing else.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "conformance/webhooks.rs"]
mod webhooks;

use std::{path::Path, sync::Arc};

use domain::{
    ChannelId, ChannelKind, MerchantId, Money, OrderId, Scene, Timestamp,
    order::{Event, Order, OrderRequest, Payer, Rules, accept, decide},
    routing::Choice,
};
use store::{
    AppendError, AuditRange, Cause, Entry, NotificationFilter, NotificationRow, OrderCommit, OrderFilter,
    OutboxNew, PayerRow, SqliteOptions, SqliteStore, Store, SwitchRow, TuningChange,
};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + secs)
}

fn id(n: u128) -> OrderId {
    OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n)
}

fn request(order_no: &str, fen: i64) -> Arc<OrderRequest> {
    Arc::new(OrderRequest {
        order_no: order_no.to_owned(),
        merchant_id: MerchantId::new("canteen-3").unwrap(),
        amount: Money::from_fen(fen).unwrap(),
        description: "牛肉面".to_owned(),
        payer: Payer {
            id: "stu-1".to_owned(),
            account_type: "student".to_owned(),
            openid: None,
            accounts: std::collections::BTreeMap::new(),
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: Vec::new(),
        notify_url: Some("http://127.0.0.1:1/paid".to_owned()),
        keep_late: false,
        part_of: None,
        expires_at: at(900),
    })
}

/// A disk of so many pages: the file may not grow beyond them.
async fn cramped(path: &Path, pages_max: Option<u32>) -> SqliteStore {
    SqliteStore::open(path, &SqliteOptions { pages_max, ..SqliteOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_keeps_what_it_holds_and_works_again_with_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.db");
    let store = cramped(&path, Some(60)).await;
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for n in 0..400 {
        let (_, entry) = new_order(n, &format!("F{n}"));
        match store.append(vec![entry]).await.pop().unwrap() {
            Ok(_) => kept.push(n),
            Err(AppendError::Unavailable { what }) => {
                assert!(what.contains("full"), "{what}");
                refused.push(n);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(!kept.is_empty() && refused.len() > 10, "{} fitted, {} did not", kept.len(), refused.len());
    for n in &kept {
        assert!(store.order_load(id(*n)).await.unwrap().is_some());
    }
    for n in &refused {
        assert!(store.order_load(id(*n)).await.unwrap().is_none(), "half a row of F{n}");
    }
    drop(store);
    let store = cramped(&path, None).await;
    let again = refused[0];
    let (_, entry) = new_order(again, &format!("F{again}"));
    let outcome = store.append(vec![entry]).await.pop().unwrap();
    assert!(outcome.is_ok(), "{outcome:?}");
}

fn commit(
    order: &Arc<Order>,
    facts: Vec<domain::order::Fact>,
    hash: Option<&str>,
    outbox: Vec<OutboxNew>,
) -> Entry {
    Entry::Order(Box::new(OrderCommit {
        cause: Cause::new("test", "test", "ref"),
        at: at(0),
        body_hash: hash.map(str::to_owned),
        facts,
        before_version: order.version - 1,
        next: order.clone(),
        outbox,
    }))
}

fn new_order(n: u128, order_no: &str) -> (Arc<Order>, Entry) {
    let decision = accept(id(n), request(order_no, 1850), at(0));
    let order = Arc::new(decision.next);
    let entry = commit(&order, decision.facts, Some("hash"), Vec::new());
    (order, entry)
}

fn route(order: &Order) -> (Arc<Order>, Entry) {
    let choice = Choice::Use {
        channel: ChannelId::new("wechat").unwrap(),
        kind: ChannelKind::Credential,
        reason: "a test".to_owned(),
        hedge_at_once: false,
    };
    let decision = decide(order, &Event::Routed(choice), at(1), &Rules::default()).unwrap();
    let next = Arc::new(decision.next);
    let entry = commit(&next, decision.facts, None, Vec::new());
    (next, entry)
}

async fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, &SqliteOptions::default()).await.unwrap())
}

/// Opens the same data anew, as after a crash. What lives in memory goes on with its one holder.
struct Again(Option<std::path::PathBuf>);

impl Again {
    async fn open(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.0 {
            Some(path) => {
                drop(store);
                open(path).await
            }
            None => store,
        }
    }
}

/// Runs a promise on every store there is.
async fn each_store<F, Fut>(promise: F)
where
    F: Fn(Arc<dyn Store>, Again) -> Fut,
    Fut: Future<Output = ()>,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rushpay.db");
    promise(open(&path).await, Again(Some(path.clone()))).await;
    promise(Arc::new(SqliteStore::in_memory().unwrap()), Again(None)).await;
}

#[tokio::test]
async fn what_was_confirmed_is_there_after_a_reopening_and_folds_to_the_same_order() {
    each_store(async |store, again| {
        let (order, first) = new_order(1, "A1");
        let (routed, second) = route(&order);
        for entry in [first, second] {
            assert!(store.append(vec![entry]).await.pop().unwrap().is_ok());
        }
        let store = again.open(store).await;
        assert_eq!(store.order_load(id(1)).await.unwrap().as_ref(), Some(&*routed));
        assert_eq!(store.order_history(id(1)).await.unwrap().len(), 2);
        assert_eq!(store.orders_open(None, 10).await.unwrap(), [id(1)]);
        assert_eq!(store.order_find("canteen-3", "A1").await.unwrap(), Some((id(1), "hash".to_owned())));
        assert_eq!(store.order_load(id(2)).await.unwrap(), None);
        store.ping().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_second_writer_is_fenced_out_and_changes_nothing() {
    each_store(async |store, _| {
        let (order, first) = new_order(1, "A1");
        let (_, second) = route(&order);
        let (_, rival) = route(&order);
        store.append(vec![first, second]).await.into_iter().for_each(|r| assert!(r.is_ok()));
        let fenced = store.append(vec![rival]).await.pop().unwrap();
        assert!(matches!(fenced, Err(AppendError::Fenced { present_version: 2 })), "{fenced:?}");
        assert_eq!(store.order_history(id(1)).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn in_a_batch_a_conflict_and_a_poisoned_row_fail_alone() {
    each_store(async |store, _| {
        let (_, one) = new_order(1, "A1");
        let (_, same_number) = new_order(2, "A1");
        let (_, three) = new_order(3, "A3");
        let (order, _) = new_order(4, "A4");
        // Version 1 must follow version 0: this one claims to follow version 6.
        let poisoned = commit(&Arc::new(Order { version: 7, ..(*order).clone() }), Vec::new(), None, Vec::new());
        let (_, five) = new_order(5, "A5");
        let results = store.append(vec![one, same_number, three, poisoned, five]).await;
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, true, false, true], "{results:?}");
        assert!(
            matches!(&results[1], Err(AppendError::Duplicate { existing, body_hash }) if *existing == id(1) && body_hash == "hash"),
            "{results:?}"
        );
        let mut kept = store.orders_open(None, 10).await.unwrap();
        kept.sort();
        assert_eq!(kept, [id(1), id(3), id(5)]);
    })
    .await;
}

#[tokio::test]
async fn operators_find_calls_switches_and_thresholds_again() {
    each_store(async |store, _| {
        let call = NotificationRow {
            id: "n1".to_owned(),
            channel: "wechat".to_owned(),
            received_at: at(2),
            remote: "127.0.0.1:5".to_owned(),
            target: "/notify/wechat".to_owned(),
            headers: vec![("A".to_owned(), "b".to_owned())],
            body: vec![0, 159, 146, 150],
            verdict: "taken".to_owned(),
            reason: String::new(),
            channel_order_no: Some(format!("{}01", id(1))),
            answer_status: 200,
            answer_body: "{}".to_owned(),
            took_us: 120,
        };
        let switch = SwitchRow {
            at: at(3),
            channel: "wechat".to_owned(),
            from_state: "healthy".to_owned(),
            to_state: "slow".to_owned(),
            from_channel: "wechat".to_owned(),
            to_channel: "campus_card".to_owned(),
            reason: "p90 1,240 ms > 800 ms".to_owned(),
        };
        let change = |key: &str, value: &str| TuningChange {
            key: key.to_owned(),
            value: value.to_owned(),
            at: at(4),
            by: "an operator".to_owned(),
        };
        let tuning = |value: &str| {
            Entry::Tuning(vec![change("hedge_after_ms", value), change("call_deadline_ms", "9000")])
        };
        let entries = vec![
            Entry::Notification(call.clone()),
            Entry::Switch(switch.clone()),
            tuning("600"),
            tuning("700"),
            Entry::Probe,
            Entry::Probe,
        ];
        assert!(store.append(entries).await.iter().all(Result::is_ok));
        let filter = NotificationFilter { order: Some(id(1)), limit: 10, ..NotificationFilter::default() };
        assert_eq!(store.notifications_list(&filter).await.unwrap(), [call]);
        let filter = NotificationFilter { order: Some(id(2)), limit: 10, ..NotificationFilter::default() };
        assert_eq!(store.notifications_list(&filter).await.unwrap(), []);
        assert_eq!(store.switches_list(10).await.unwrap(), [switch]);
        let kept = store.tuning_all().await.unwrap();
        assert_eq!(
            kept.iter().map(|t| (t.key.as_str(), t.value.as_str())).collect::<Vec<_>>(),
            [("call_deadline_ms", "9000"), ("hedge_after_ms", "700")]
        );
    })
    .await;
}

#[tokio::test]
async fn the_audit_reads_every_order_page_by_page_and_a_fresh_store_is_clean() {
    each_store(async |store, _| {
        let entries = (1..=25).map(|n| new_order(n, &format!("A{n}")).1).collect();
        assert!(store.append(entries).await.iter().all(Result::is_ok));
        let mut auditor = domain::audit::Auditor::new();
        let mut pages = store.audit_scan(AuditRange::default()).await.unwrap();
        while let Some(page) = pages.recv().await {
            page.unwrap().iter().for_each(|order| auditor.order(order));
        }
        let report = auditor.finish();
        assert!(report.clean && report.orders == 25, "{report:?}");
        let some = OrderFilter { limit: 7, ..OrderFilter::default() };
        assert_eq!(store.orders_list(&some).await.unwrap().len(), 7);
        assert_eq!(store.orders_count().await.unwrap(), [("pending".to_owned(), 25)]);
        assert_eq!(store.books_totals().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_store_is_opened_by_one_and_a_broken_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.db");
    std::fs::write(&path, "this is no database, and it must stay as it is").unwrap();
    let error = SqliteStore::open(&path, &SqliteOptions::default()).await.err().map(|e| e.to_string());
    assert!(error.as_ref().is_some_and(|e| e.contains("broken.db")), "{error:?}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is no database"));
}

#[tokio::test]
async fn a_payers_profile_is_the_last_one_written() {
    each_store(async |store, again| {
        assert_eq!(store.payer("stu-1").await.unwrap(), None);
        let row = |channel: &str, secs: i64| PayerRow {
            payer_id: "stu-1".to_owned(),
            account_type: "student".to_owned(),
            accounts: [(ChannelId::new("alipay").unwrap(), "2088000000000001".to_owned())].into(),
            last_channel: ChannelId::new(channel).unwrap(),
            last_paid_at: at(secs),
        };
        for profile in [row("wechat", 1), row("alipay", 2)] {
            assert!(store.append(vec![Entry::Payer(profile)]).await.pop().unwrap().is_ok());
        }
        let other = PayerRow { payer_id: "stu-2".to_owned(), ..row("wechat", 3) };
        assert!(store.append(vec![Entry::Payer(other)]).await.pop().unwrap().is_ok());
        let recent = store.payers_recent(1).await.unwrap();
        assert_eq!(
            recent.iter().map(|p| p.payer_id.as_str()).collect::<Vec<_>>(),
            ["stu-2"],
            "the latest first"
        );
        assert_eq!(again.open(store).await.payer("stu-1").await.unwrap(), Some(row("alipay", 2)));
    })
    .await;
}

#[tokio::test]
async fn a_store_has_a_name_keeps_its_marks_and_is_sound() {
    each_store(async |store, _| {
        let marks = store.marks().await.unwrap();
        assert_eq!(marks["store_id"].len(), 32, "{marks:?}");
        for value in ["once", "twice"] {
            store.mark_set("test", value).await.unwrap();
        }
        let again = store.marks().await.unwrap();
        assert_eq!((again["test"].as_str(), &again["store_id"]), ("twice", &marks["store_id"]));
        assert_eq!(store.integrity().await.unwrap(), [""; 0]);
    })
    .await;
}

mod bills {
    //! Reconciliation's part of the store.

    use domain::{
        Money,
        reconciliation::{self, BillKind, BillLine, DifferenceKind, DifferenceState, Fix, Subject},
    };
    use store::{DifferenceFilter, DifferenceStep, Gap, Page, RunFilter, RunState};

    use super::*;

    fn line(n: usize, kind: BillKind, number: &str, fen: i64) -> BillLine {
        let refund = kind == BillKind::Refund;
        BillLine {
            line: n,
            kind,
            channel_order_no: if refund { "p2".to_owned() } else { number.to_owned() },
            refund_no: refund.then(|| number.to_owned()),
            trade_no: format!("t{n}"),
            amount: Money::from_fen(fen).unwrap(),
            fee_fen: 1,
            at: at(60),
        }
    }

    fn difference(number: &str) -> reconciliation::Difference {
        reconciliation::Difference {
            kind: DifferenceKind::MissingHere,
            subject: Subject::Payment,
            number: number.to_owned(),
            order: None,
            ours_fen: None,
            theirs_fen: Some(500),
            trade_no: "t".to_owned(),
            line: Some(2),
            at: Some(at(60)),
            adopts: Some(format!("{number}01")),
            fix: Fix::Refund,
            fix_fen: 500,
            detail: "d".to_owned(),
        }
    }

    fn paid(order: &Order) -> (Arc<Order>, Entry) {
        let (routed, _) = route(order);
        let no = domain::AttemptNo::new(1).unwrap();
        let capture =
            domain::Capture { amount: Money::from_fen(1_850).unwrap(), trade_no: "t".to_owned(), at: at(60) };
        let evidence = domain::Evidence {
            source: domain::EvidenceSource::Query,
            reference: "test".to_owned(),
            found: domain::Found::Captured(capture),
        };
        let event = Event::Found { no, evidence };
        let decision = decide(&routed, &event, at(61), &Rules::default()).unwrap();
        let next = Arc::new(decision.next);
        (next.clone(), commit(&next, decision.facts, None, Vec::new()))
    }

    fn all() -> Page {
        Page { after: String::new(), limit: 100 }
    }

    #[tokio::test]
    async fn a_run_belongs_to_one_worker_at_a_time_and_keeps_its_breakpoint() {
        each_store(async |store, _| {
            let run = store.bills().bill_run_want("wechat", "2026-01-01", "daily", at(0)).await.unwrap();
            assert_eq!(
                store.bills().bill_run_want("wechat", "2026-01-01", "maria", at(9)).await.unwrap(),
                run,
                "made once"
            );
            assert_eq!(store.bills().bill_runs_due(at(0), 9).await.unwrap().len(), 1);
            let mut mine = store.bills().bill_run_claim(run.id, "a", at(0), at(15)).await.unwrap().unwrap();
            assert!(
                store.bills().bill_run_claim(run.id, "b", at(14), at(30)).await.unwrap().is_none(),
                "it is leased"
            );
            assert!(store.bills().bill_runs_due(at(14), 9).await.unwrap().is_empty());
            mine.line_done = 7;
            assert!(
                store.bills().bill_lines_add(&mine, &[line(7, BillKind::Payment, "p1", 500)]).await.unwrap()
            );
            let theirs = store.bills().bill_run_claim(run.id, "b", at(15), at(30)).await.unwrap().unwrap();
            assert_eq!(theirs.line_done, 7, "the next worker goes on at the breakpoint");
            let late = [line(8, BillKind::Payment, "p2", 500)];
            assert!(
                !store.bills().bill_lines_add(&mine, &late).await.unwrap(),
                "who lost the lease writes nothing"
            );
            assert!(!store.bills().bill_run_save(&mine).await.unwrap());
            assert!(
                !store.bills().differences_add(&mine, &[(difference("p1"), false)], at(16)).await.unwrap()
            );
            assert_eq!(store.bills().bill_theirs(run.id, Subject::Payment, &all()).await.unwrap().len(), 1);
        })
        .await;
    }

    #[tokio::test]
    async fn the_lines_of_a_number_come_together_in_pages() {
        each_store(async |store, _| {
            let run = store.bills().bill_run_want("wechat", "2026-01-01", "daily", at(0)).await.unwrap();
            let run = store.bills().bill_run_claim(run.id, "a", at(0), at(15)).await.unwrap().unwrap();
            let lines = [
                line(2, BillKind::Payment, "p2", 500),
                line(3, BillKind::Payment, "p1", 300),
                line(4, BillKind::Reversal, "p1", 300),
                line(5, BillKind::Payment, "p2", 500),
                line(6, BillKind::Refund, "r1", 50),
            ];
            assert!(store.bills().bill_lines_add(&run, &lines).await.unwrap());
            let first = store
                .bills()
                .bill_theirs(run.id, Subject::Payment, &Page { limit: 1, ..all() })
                .await
                .unwrap();
            assert_eq!((first[0].number.as_str(), first[0].fen, first[0].net_fen()), ("p1", 300, 0));
            let page = Page { after: "p1".to_owned(), limit: 9 };
            let second = store.bills().bill_theirs(run.id, Subject::Payment, &page).await.unwrap();
            assert_eq!((second.len(), second[0].lines, second[0].fen, second[0].fee_fen), (1, 2, 1_000, 2));
            let refunds = store.bills().bill_theirs(run.id, Subject::Refund, &all()).await.unwrap();
            assert_eq!((refunds.len(), refunds[0].fen, refunds[0].of_trade.as_deref()), (1, 50, Some("p2")));
            assert_eq!(second[0].of_trade, None);
            let asked = ["p1".to_owned(), "p9".to_owned()];
            let known =
                store.bills().bill_numbers_known(&[run.id, 99], Subject::Payment, &asked).await.unwrap();
            assert_eq!(known.into_iter().collect::<Vec<_>>(), ["p1"]);
            assert_eq!(store.bills().bill_lines_drop(run.id, 3).await.unwrap(), 3);
            assert_eq!(store.bills().bill_lines_drop(run.id, 9).await.unwrap(), 2);
        })
        .await;
    }

    #[tokio::test]
    async fn differences_are_seen_when_their_run_is_done_and_move_on_once() {
        each_store(async |store, _| {
            let run = store.bills().bill_run_want("wechat", "2026-01-01", "daily", at(0)).await.unwrap();
            let mut run = store.bills().bill_run_claim(run.id, "a", at(0), at(15)).await.unwrap().unwrap();
            let found = [(difference("p1"), false), (difference("p2"), true)];
            for _ in 0..2 {
                assert!(
                    store.bills().differences_add(&run, &found, at(1)).await.unwrap(),
                    "repeating adds none"
                );
            }
            let any = DifferenceFilter { limit: 9, ..DifferenceFilter::default() };
            assert!(
                store.bills().differences_list(&any).await.unwrap().is_empty(),
                "of half a run nothing is seen"
            );
            run.state = RunState::Done;
            assert!(store.bills().bill_run_save(&run).await.unwrap());
            let seen = store.bills().differences_list(&any).await.unwrap();
            let states: Vec<_> = seen.iter().map(|d| d.state).collect();
            assert_eq!(states, [DifferenceState::Open, DifferenceState::Waiting]);
            assert_eq!(seen[0].found, difference("p1"));
            let counted = store.bills().differences_count().await.unwrap();
            assert_eq!(
                counted,
                [("wechat".to_owned(), DifferenceKind::MissingHere, 1)],
                "what waits does not count"
            );
            let step = DifferenceStep {
                from: DifferenceState::Open,
                to: DifferenceState::Fixing,
                chosen: Some(Fix::Refund),
                first_by: Some("maria".to_owned()),
                second_by: None,
                refund_no: Some("rc1".to_owned()),
                outcome: None,
                at: at(2),
                by: "maria".to_owned(),
                act: "confirmed",
                note: "n".to_owned(),
                tells: false,
            };
            assert!(store.bills().difference_step(seen[0].id, &step).await.unwrap());
            assert!(
                !store.bills().difference_step(seen[0].id, &step).await.unwrap(),
                "the second of two is too late"
            );
            let acts = store.bills().difference_acts(seen[0].id).await.unwrap();
            assert_eq!((acts.len(), acts[0].by.as_str()), (1, "maria"));
            let ours = store.bills().ours_by_number(Subject::Refund, &["rc1".to_owned()]).await.unwrap();
            assert_eq!(
                (ours.len(), ours[0].fen),
                (1, Some(500)),
                "its refund is one of ours on the next bill"
            );
            let filter = RunFilter { day: Some("2026-01-01".to_owned()), limit: 9, ..RunFilter::default() };
            assert_eq!(store.bills().bill_runs_list(&filter).await.unwrap(), [run]);
        })
        .await;
    }

    #[tokio::test]
    async fn captures_and_refunds_of_one_moment_come_in_pages_each_once() {
        each_store(async |store, _| {
            for n in 1..=3 {
                let (order, entry) = new_order(n, &format!("P{n}"));
                store.append(vec![entry]).await.pop().unwrap().unwrap();
                let (_, entry) = route(&order);
                store.append(vec![entry]).await.pop().unwrap().unwrap();
                let (paid, entry) = paid(&order);
                store.append(vec![entry]).await.pop().unwrap().unwrap();
                let adopted = Event::RefundAdopted {
                    refund_no: paid.id.refund_no(2),
                    no: domain::AttemptNo::new(1).unwrap(),
                    amount: Money::from_fen(50).unwrap(),
                    channel_refund_id: "b".to_owned(),
                    at: at(70),
                };
                let decision = decide(&paid, &adopted, at(99), &Rules::default()).unwrap();
                let next = Arc::new(decision.next);
                let entry = commit(&next, decision.facts, None, Vec::new());
                store.append(vec![entry]).await.pop().unwrap().unwrap();
            }
            for (subject, fen) in [(Subject::Payment, 1850), (Subject::Refund, 50)] {
                let mut page = Page { after: String::new(), limit: 1 };
                let mut seen = std::collections::BTreeSet::new();
                for _ in 0..3 {
                    let (rows, next) =
                        store.bills().ours_of_span(subject, "wechat", (at(0), at(99)), &page).await.unwrap();
                    assert_eq!((rows.len(), rows[0].fen, rows[0].subject), (1, Some(fen), subject));
                    assert!(seen.insert(rows[0].number.clone()), "{seen:?}");
                    page.after = next.unwrap();
                }
                let (rows, next) =
                    store.bills().ours_of_span(subject, "wechat", (at(0), at(99)), &page).await.unwrap();
                assert_eq!((rows.len(), next), (0, None));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_capture_is_found_by_number_and_by_day_and_is_a_gap_without_a_notification() {
        each_store(async |store, _| {
            let (order, entry) = new_order(1, "G1");
            store.append(vec![entry]).await.pop().unwrap().unwrap();
            let (_, entry) = route(&order);
            store.append(vec![entry]).await.pop().unwrap().unwrap();
            let (paid, entry) = paid(&order);
            store.append(vec![entry]).await.pop().unwrap().unwrap();
            let number = format!("{}01", paid.id);
            let ours = store
                .bills()
                .ours_by_number(Subject::Payment, &[number.clone(), "x".to_owned()])
                .await
                .unwrap();
            assert_eq!((ours.len(), ours[0].fen, ours[0].order), (1, Some(1850), Some(paid.id)));
            let stranger = OrderId::from_u128(7);
            assert_eq!(store.bills().ours_of_orders(&[stranger, paid.id]).await.unwrap(), ours);
            let span = |from, to| (at(from), at(to));
            let of = async |span| {
                store.bills().ours_of_span(Subject::Payment, "wechat", span, &all()).await.unwrap().0.len()
            };
            assert_eq!((of(span(0, 60)).await, of(span(60, 61)).await, of(span(61, 99)).await), (0, 1, 0));
            assert_eq!(store.bills().first_capture_at().await.unwrap(), Some(at(60)));
            let gaps = store.bills().gaps_new(at(0), at(99), 9).await.unwrap();
            assert_eq!((gaps.len(), gaps[0].captured_by.as_str()), (1, "query"));
            let looked_at = Gap { verdict: "matched".to_owned(), checked_at: at(99), ..gaps[0].clone() };
            store.bills().gap_put(&looked_at).await.unwrap();
            assert!(store.bills().gaps_new(at(0), at(99), 9).await.unwrap().is_empty());
            assert_eq!(store.bills().gaps_list(9).await.unwrap(), [looked_at]);
            let counted = store.bills().gaps_count(at(0)).await.unwrap();
            assert_eq!(counted, [("wechat".to_owned(), "matched".to_owned(), 1)]);
        })
        .await;
    }
}
