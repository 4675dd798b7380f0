//! `rushpay chaos`, small, without root's privileges: the command's own judgement is the assertion. The short form with
//! every kind of mischief is a step of `scripts/test`.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::process::Command;

use common::{BIN, output};
use serde_json::Value;

#[test]
fn a_service_killed_and_out_of_disk_loses_nothing_and_charges_nobody_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(BIN);
    command.current_dir(dir.path()).args(["chaos", "--quiet", "--only", "kill,disk", "--disk", "limit"]);
    command.args(["--kills", "3", "--seed", "11", "--minutes", "0.6", "--orders", "500"]);
    let (code, out, err) = output(command);
    assert_eq!(code, 0, "{out}\n{err}");
    let text = std::fs::read_to_string(dir.path().join("chaos-report/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((number("kills"), number("lost"), number("doubled")), (3, 0, 0), "{out}");
    assert_eq!(report["load"]["audit"]["clean"], true, "{out}");
    let full: Vec<&Value> =
        report["mischief"].as_array().unwrap().iter().filter(|m| m["kind"] == "disk").collect();
    assert!(full.len() == 2 && full.iter().all(|m| m["problem"].is_null()), "{out}");
    assert!(dir.path().join("chaos-report/report.html").exists());
}

#[test]
fn what_cannot_be_done_in_the_time_is_refused_before_anything_starts() {
    let mut command = Command::new(BIN);
    command.args(["chaos", "--kills", "50", "--minutes", "1"]);
    let (code, _, err) = output(command);
    assert!(code == 1 && err.contains("50 kills"), "{code} {err}");
    let mut command = Command::new(BIN);
    command.args(["chaos", "--only", "flood"]);
    let (code, _, err) = output(command);
    assert!(code == 2 && err.contains("kill") && err.contains("clock"), "{code} {err}");
}
