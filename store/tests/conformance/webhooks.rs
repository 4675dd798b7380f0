//! The outbox: due by backend and in order, moved on by tries, sent again by hand, read by backends that catch up.

use std::{sync::Arc, time::Duration};

use domain::{Timestamp, order::accept, webhook::GIVE_UP_AFTER};
use store::{
    Entry, OutboxNew, Resend, Store, WebhookDue, WebhookFilter, WebhookResend, WebhookTry, WebhooksOver,
};

use super::{at, commit, each_store, id, request};

const DEAD: &str = "127.0.0.1:1";
const ALIVE: &str = "127.0.0.1:2";

fn outbox(id: &str, backend: &str) -> OutboxNew {
    OutboxNew {
        id: id.to_owned(),
        kind: "order.succeeded".to_owned(),
        payload: format!("{{\"n\":\"{id}\"}}"),
        url: (!backend.is_empty()).then(|| format!("http://{backend}/paid")),
    }
}

/// An order whose first commit writes these webhooks.
fn told(n: u32, outbox: Vec<OutboxNew>) -> Entry {
    let decision = accept(id(u128::from(n)), request(&format!("A{n}"), 1850), at(0));
    commit(&Arc::new(decision.next), decision.facts, Some("hash"), outbox)
}

fn tried(due: &WebhookDue, secs: i64, next_at: Option<Timestamp>, delivered: bool) -> Entry {
    Entry::WebhookTry(WebhookTry {
        webhook_id: due.id.clone(),
        since: due.since,
        at: at(secs),
        status: Some(if delivered { 200 } else { 500 }),
        error: (!delivered).then(|| "the backend answered 500".to_owned()),
        took_ms: 3,
        delivered,
        next_at,
    })
}

async fn put(store: &Arc<dyn Store>, entries: Vec<Entry>) {
    for outcome in store.append(entries).await {
        outcome.unwrap();
    }
}

async fn due(store: &Arc<dyn Store>, secs: i64, backend: &str) -> Vec<WebhookDue> {
    store.webhooks_due(at(secs), vec![(backend.to_owned(), 100)]).await.unwrap()
}

fn ids(due: &[WebhookDue]) -> Vec<&str> {
    due.iter().map(|w| w.id.as_str()).collect()
}

async fn state(store: &Arc<dyn Store>, id: &str) -> (String, u32, usize) {
    let filter = WebhookFilter { id: Some(id.to_owned()), limit: 1, ..WebhookFilter::default() };
    let line = store.webhooks_list(&filter).await.unwrap().pop().unwrap();
    (line.state, line.tries, line.calls.len())
}

#[tokio::test]
async fn webhooks_are_due_until_delivered_and_events_come_in_order() {
    each_store(async |store, _| {
        for n in 1..=3 {
            put(&store, vec![told(n, vec![outbox(&format!("w{n}"), ALIVE)])]).await;
        }
        put(&store, vec![told(4, vec![outbox("w4", "")])]).await;
        let rows = due(&store, 1, ALIVE).await;
        assert_eq!(ids(&rows), ["w1", "w2", "w3"]);
        assert_eq!((rows[0].order, rows[0].backend.as_str()), (Some(id(1)), ALIVE));
        put(&store, vec![tried(&rows[0], 1, None, true), tried(&rows[1], 1, Some(at(6)), false)]).await;
        assert_eq!(ids(&due(&store, 5, ALIVE).await), ["w3"]);
        let again = due(&store, 6, ALIVE).await;
        assert_eq!(ids(&again), ["w2", "w3"], "the oldest first, not the longest due");
        assert_eq!(again[0].tries, 1);
        let backends = store.webhook_backends("", 10).await.unwrap();
        assert_eq!(backends.len(), 1);
        assert_eq!((backends[0].first_at, backends[0].last_at), (at(0), at(6)));
        let events = store.events_after(0, 2).await.unwrap();
        assert_eq!(events.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["w1", "w2"]);
        let rest = store.events_after(events[1].cursor, 10).await.unwrap();
        assert_eq!(rest.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["w3", "w4"]);
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_due_rows_of_one_backend_stand_in_front_of_no_other() {
    each_store(async |store, _| {
        for group in 0..10 {
            let rows = (1..=1_000).map(|n| group * 1_000 + n);
            put(&store, rows.map(|n| told(n, vec![outbox(&format!("d{n}"), DEAD)])).collect()).await;
        }
        put(&store, vec![told(10_001, vec![outbox("alive", ALIVE)])]).await;
        let started = std::time::Instant::now();
        let backends = store.webhook_backends("", 10).await.unwrap();
        let names: Vec<&str> = backends.iter().map(|b| b.backend.as_str()).collect();
        assert_eq!(names, [DEAD, ALIVE]);
        let asks = vec![(DEAD.to_owned(), 2), (ALIVE.to_owned(), 2)];
        assert_eq!(ids(&store.webhooks_due(at(1), asks).await.unwrap()), ["d1", "d2", "alive"]);
        println!("two questions over 10,001 due rows took {:?}", started.elapsed());
        assert_eq!(store.webhook_backends(DEAD, 10).await.unwrap().len(), 1, "goes on after a name");
        assert_eq!(store.webhook_backends("", 1).await.unwrap().len(), 1);
        let totals = store.webhook_totals().await.unwrap();
        assert_eq!((totals[0].due, totals[0].dead, totals[0].due_since), (10_000, 0, Some(at(0))));
        assert_eq!((totals[1].backend.as_str(), totals[1].due), (ALIVE, 1));
    })
    .await;
}

#[tokio::test]
async fn a_backend_hears_of_an_order_in_order_unless_it_keeps_refusing_the_earlier_one() {
    each_store(async |store, _| {
        put(&store, vec![told(1, vec![outbox("first", DEAD), outbox("second", DEAD)])]).await;
        put(&store, vec![told(2, vec![outbox("another order's", DEAD)])]).await;
        for tries in 0..4_u32 {
            let now = i64::from(tries) * 100;
            let rows = due(&store, now, DEAD).await;
            assert_eq!(ids(&rows), ["first", "another order's"], "after {tries} tries");
            put(&store, vec![tried(&rows[0], now, Some(at(now + 100)), false)]).await;
        }
        assert_eq!(ids(&due(&store, 399, DEAD).await), ["second", "another order's"]);
        assert_eq!(ids(&due(&store, 400, DEAD).await), ["first", "second", "another order's"]);
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again_under_an_operators_name_on_a_fresh_schedule() {
    each_store(async |store, _| {
        for n in 1..=3 {
            put(&store, vec![told(n, vec![outbox(&format!("w{n}"), DEAD)])]).await;
        }
        put(&store, vec![told(4, vec![outbox("silent", "")])]).await;
        let rows = due(&store, 1, DEAD).await;
        put(&store, vec![tried(&rows[0], 1, None, false), tried(&rows[1], 1, None, false)]).await;
        let over = |before| WebhooksOver { backend: DEAD.to_owned(), since_before: at(before) };
        put(&store, vec![Entry::WebhooksOver(over(0))]).await;
        assert_eq!(state(&store, "w3").await, ("due".to_owned(), 0, 0), "its time is not over");
        put(&store, vec![Entry::WebhooksOver(over(1))]).await;
        assert_eq!(state(&store, "w3").await, ("dead".to_owned(), 0, 0));

        let filter = WebhookFilter { state: Some("dead".to_owned()), limit: 10, ..WebhookFilter::default() };
        let dead = store.webhooks_list(&filter).await.unwrap();
        assert_eq!(dead.iter().map(|w| w.id.as_str()).collect::<Vec<_>>(), ["w3", "w2", "w1"]);
        assert_eq!(dead[2].calls[0].error.as_deref(), Some("the backend answered 500"));
        let narrower = WebhookFilter { order: Some(id(2)), backend: Some(DEAD.to_owned()), ..filter };
        assert_eq!(store.webhooks_list(&narrower).await.unwrap().len(), 1);

        let resend = |act: &str, secs, what| {
            let by = "maria (10.0.0.7)".to_owned();
            Entry::WebhookResend(WebhookResend { id: act.to_owned(), at: at(secs), by, what })
        };
        put(&store, vec![resend("r1", 100, Resend::One("w2".to_owned()))]).await;
        put(&store, vec![resend("r2", 200, Resend::DeadOf(DEAD.to_owned()))]).await;
        put(&store, vec![resend("r3", 300, Resend::One("silent".to_owned()))]).await;
        put(&store, vec![resend("r4", 400, Resend::One("missing".to_owned()))]).await;
        let rows = due(&store, 200, DEAD).await;
        assert_eq!(ids(&rows), ["w2", "w1", "w3"]);
        assert!(rows.iter().all(|w| w.tries == 0));
        assert_eq!((rows[0].since, rows[1].since), (at(100), at(200)));
        let acts = store.webhook_resends(None, 10).await.unwrap();
        let acts: Vec<_> = acts.iter().map(|(act, n)| (act.id.as_str(), act.by.as_str(), *n)).collect();
        let by = "maria (10.0.0.7)";
        assert_eq!(acts, [("r4", by, 0), ("r3", by, 0), ("r2", by, 2), ("r1", by, 1)]);
        let (one, n) = store.webhook_resends(Some("r2"), 1).await.unwrap().pop().unwrap();
        assert_eq!((one.what, n), (Resend::DeadOf(DEAD.to_owned()), 2));
    })
    .await;
}

#[tokio::test]
async fn a_try_of_an_earlier_schedule_uses_up_no_try_of_the_new_one_and_a_delivery_always_counts() {
    each_store(async |store, _| {
        put(&store, vec![told(1, vec![outbox("w1", DEAD)]), told(2, vec![outbox("w2", DEAD)])]).await;
        let rows = due(&store, 0, DEAD).await;
        let resend = |n: &str| WebhookResend {
            id: format!("r{n}"),
            at: at(10),
            by: "maria".to_owned(),
            what: Resend::One(n.to_owned()),
        };
        put(&store, vec![Entry::WebhookResend(resend("w1"))]).await;
        put(&store, vec![tried(&rows[0], 9, None, false)]).await;
        assert_eq!(state(&store, "w1").await, ("due".to_owned(), 0, 1), "under way when it was resent");
        let over = WebhooksOver { backend: DEAD.to_owned(), since_before: at(1) };
        put(&store, vec![Entry::WebhooksOver(over), tried(&rows[1], 9, None, true)]).await;
        assert_eq!(state(&store, "w2").await, ("delivered".to_owned(), 1, 1));
        put(&store, vec![tried(&rows[1], 12, Some(at(20)), false)]).await;
        assert_eq!(state(&store, "w2").await.0, "delivered", "a late failure undoes no delivery");
        assert!(GIVE_UP_AFTER > Duration::from_secs(1));
    })
    .await;
}

/// Readers that catch up while writes go on: every line once, in order, none missing, whatever the page's size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_over_many_thousand_events_has_no_gap_and_no_repeat_while_writes_go_on() {
    const EVENTS: u32 = 6_000;
    const GROUP: u32 = 20;
    each_store(async |store, _| {
        let writer = tokio::task::spawn({
            let store = store.clone();
            async move {
                for group in 0..EVENTS / GROUP {
                    let rows = (1..=GROUP).map(|n| group * GROUP + n);
                    // Every seventh entry is refused: what it would have written leaves no hole to wait for.
                    let mut entries = Vec::new();
                    for n in rows {
                        entries.push(told(n, vec![outbox(&format!("w{n}"), ALIVE)]));
                        if n % 7 == 0 {
                            entries.push(told(n, vec![outbox(&format!("refused{n}"), ALIVE)]));
                        }
                    }
                    store.append(entries).await;
                }
            }
        });
        let readers = [1_usize, 37, 1_000].map(|page| {
            let store = store.clone();
            tokio::task::spawn(async move {
                let (mut seen, mut cursor, mut pages) = (Vec::new(), 0, 0_u32);
                let until = tokio::time::Instant::now() + Duration::from_secs(60);
                while seen.len() < usize::try_from(EVENTS).unwrap() {
                    assert!(tokio::time::Instant::now() < until, "only {} events seen", seen.len());
                    let lines = store.events_after(cursor, page).await.unwrap();
                    for line in lines {
                        assert!(line.cursor > cursor);
                        cursor = line.cursor;
                        seen.push(line.id);
                    }
                    pages += 1;
                    tokio::task::yield_now().await;
                }
                assert!(store.events_after(cursor, page).await.unwrap().is_empty());
                (page, pages, seen)
            })
        });
        writer.await.unwrap();
        let wanted: Vec<String> = (1..=EVENTS).map(|n| format!("w{n}")).collect();
        for reader in readers {
            let (page, pages, seen) = reader.await.unwrap();
            println!("{} events in {pages} pages of at most {page}", seen.len());
            assert!(seen == wanted, "page of {page}");
        }
    })
    .await;
}
