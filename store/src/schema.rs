//! The tables as diesel sees them; the migrations are their source. Portable types only.

diesel::table! {
    orders (id) {
        id -> Text, merchant_id -> Text, order_no -> Text, body_hash -> Text, state -> Text, settled -> BigInt,
        version -> BigInt, amount_fen -> BigInt, net_fen -> BigInt, payer_id -> Text, failure -> Nullable<Text>,
        created_at -> BigInt, expires_at -> BigInt, parts -> BigInt, part_of -> Nullable<Text>,
    }
}
diesel::table! {
    attempts (order_id, no) {
        order_id -> Text, no -> BigInt, channel -> Text, channel_order_no -> Text, state -> Text,
        exposed_at -> Nullable<BigInt>, capture_fen -> Nullable<BigInt>, trade_no -> Nullable<Text>,
        captured_at -> Nullable<BigInt>, captured_by -> Nullable<Text>,
    }
}
diesel::table! {
    order_events (order_id, version) {
        order_id -> Text, version -> BigInt, at -> BigInt, event -> Text, source -> Text, reference -> Text,
        facts -> Text, hash -> Binary,
    }
}
diesel::table! {
    refunds (refund_no) {
        refund_no -> Text, order_id -> Text, attempt_no -> BigInt, amount_fen -> BigInt, cause -> Text,
        state -> Text, backend_no -> Nullable<Text>, channel_refund_id -> Nullable<Text>, booked_at -> BigInt,
        done_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    books (order_id, version, line) {
        order_id -> Text, version -> BigInt, line -> BigInt, account -> Text, amount_fen -> BigInt,
    }
}
diesel::table! {
    notifications_in (id) {
        id -> Text, channel -> Text, received_at -> BigInt, remote -> Text, target -> Text, headers -> Text,
        body -> Binary, verdict -> Text, reason -> Text, channel_order_no -> Nullable<Text>,
        answer_status -> BigInt, answer_body -> Text, took_us -> BigInt,
    }
}
diesel::table! {
    webhooks_out (seq) {
        seq -> BigInt, id -> Text, order_id -> Text, kind -> Text, payload -> Text, url -> Nullable<Text>,
        created_at -> BigInt, state -> Text, tries -> BigInt, next_at -> Nullable<BigInt>, version -> BigInt,
        seal -> BigInt, backend -> Nullable<Text>, since -> BigInt,
    }
}
diesel::table! {
    webhook_tries (webhook_id, at) {
        webhook_id -> Text, at -> BigInt, status -> Nullable<BigInt>, error -> Nullable<Text>, took_ms -> BigInt,
    }
}
diesel::table! {
    webhook_resends (id) {
        id -> Text, at -> BigInt, by -> Text, webhook_id -> Nullable<Text>, backend -> Nullable<Text>,
        resent -> BigInt,
    }
}
diesel::table! {
    payers (payer_id) {
        payer_id -> Text, account_type -> Text, accounts -> Text, last_channel -> Text, last_paid_at -> BigInt,
    }
}
diesel::table! {
    tuning (key) { key -> Text, value -> Text, changed_at -> BigInt, changed_by -> Text, }
}
diesel::table! {
    tuning_audit (seq) { seq -> BigInt, key -> Text, value -> Text, changed_at -> BigInt, changed_by -> Text, }
}
diesel::table! {
    channel_switches (seq) {
        seq -> BigInt, at -> BigInt, channel -> Text, from_state -> Text, to_state -> Text,
        from_channel -> Text, to_channel -> Text, reason -> Text,
    }
}
diesel::table! {
    store_marks (key) { key -> Text, value -> Text, at -> BigInt, }
}
diesel::table! {
    bill_runs (id) {
        id -> BigInt, channel -> Text, day -> Text, state -> Text, asked_at -> BigInt, asked_by -> Text,
        tries -> BigInt, next_at -> BigInt, problem -> Nullable<Text>, fetched_at -> Nullable<BigInt>,
        file_hash -> Nullable<Text>, file_bytes -> BigInt, lines -> BigInt, paid_fen -> BigInt,
        refunded_fen -> BigInt, fee_fen -> BigInt, line_done -> BigInt, step -> Text, cursor -> Text,
        matched -> BigInt, ended_at -> Nullable<BigInt>, owner -> Text, lease_until -> BigInt, told -> Text,
        told_tries -> BigInt, told_at -> Nullable<BigInt>, told_since -> Nullable<BigInt>,
    }
}
diesel::table! {
    bill_lines (run_id, subject, number, line) {
        run_id -> BigInt, subject -> Text, number -> Text, line -> BigInt, reversal -> BigInt, trade_no -> Text,
        amount_fen -> BigInt, fee_fen -> BigInt, at -> BigInt, of_trade -> Nullable<Text>,
    }
}
diesel::table! {
    differences (id) {
        id -> BigInt, run_id -> BigInt, channel -> Text, day -> Text, kind -> Text, subject -> Text,
        number -> Text, order_id -> Nullable<Text>, ours_fen -> Nullable<BigInt>, theirs_fen -> Nullable<BigInt>,
        trade_no -> Text, line -> Nullable<BigInt>, at -> Nullable<BigInt>, fix -> Text, fix_fen -> BigInt,
        detail -> Text, state -> Text, chosen -> Nullable<Text>, first_by -> Nullable<Text>,
        second_by -> Nullable<Text>, refund_no -> Nullable<Text>, outcome -> Nullable<Text>, found_at -> BigInt,
        changed_at -> BigInt, adopts -> Nullable<Text>,
    }
}
diesel::table! {
    difference_acts (seq) {
        seq -> BigInt, difference_id -> BigInt, at -> BigInt, by -> Text, act -> Text, note -> Text,
    }
}
diesel::table! {
    gaps (channel_order_no) {
        channel_order_no -> Text, channel -> Text, order_id -> Text, captured_at -> BigInt, captured_by -> Text,
        checked_at -> BigInt, verdict -> Text, detail -> Text,
    }
}
diesel::allow_tables_to_appear_in_same_query!(orders, attempts, refunds, gaps, notifications_in);
diesel::allow_tables_to_appear_in_same_query!(bill_runs, differences);
