//! The reconciliation file of a settlement day: fixed width in GBK bytes, in a ZIP, in zlib, in base64 (section 9).

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoding_rs::GBK;
use flate2::{Compression, write::ZlibEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::bill_faults::Shown;

use super::{
    UnionPay,
    fields::{Fields, settle_day, time},
    ledger::Txn,
    refusal::Refusal,
};

/// Six of a thousand as everywhere, at least one fen, and given back with a refund.
fn fee(amount: i64) -> i64 {
    crate::fee::fee(amount).max(i64::from(amount > 0))
}

pub(crate) fn make(me: &UnionPay, fields: &Fields) -> Result<Fields, Refusal> {
    let (day, kind) = (fields.get("settleDate"), fields.get("fileType"));
    if day.len() != 4 || !day.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Refusal::format("settleDate"));
    }
    if kind != "00" {
        return Err(Refusal::format("fileType"));
    }
    let today = settle_day(me.world.clock.now());
    let ledger = me.ledger.lock();
    let faults = me.world.bill_faults(super::NAME);
    if faults.not_ready {
        return Err(Refusal::new("98", "文件不存在"));
    }
    let settled = |at| settle_day(me.world.bill_time(at));
    let of_day =
        |at| settled(at).get(4..) == Some(day) && (settled(at) != today || me.world.today_is_billed());
    let rows: Vec<_> = ledger.done().into_iter().filter(|(_, at)| of_day(*at)).collect();
    let Some((_, at)) = rows.first() else { return Err(Refusal::new("98", "文件不存在")) };
    let date: String = settled(*at).chars().skip(2).collect();
    let mut text = Vec::new();
    for (txn, at) in &rows {
        for shown in faults.shown(txn.no(), txn.amount, fee(txn.amount)) {
            text.extend(row(&me.keys.mer_id, txn, &shown, &time(me.world.bill_time(*at))));
            text.extend(b"\r\n");
        }
    }
    let text = faults.cut(text);
    let name = format!("INN{date}88ZM_{}", me.keys.mer_id);
    let content = packed(&[(&name, &text), (&format!("INN{date}88ZME_{}", me.keys.mer_id), b"")]);
    let content = content.map_err(|_| Refusal::new("02", "系统异常"))?;
    let mut said = Fields::from([("fileName", format!("{}_{date}.zip", me.keys.mer_id).as_str())]);
    said.set("fileContent", STANDARD.encode(&content));
    said.set("settleDate", day);
    Ok(said)
}

fn packed(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).map_err(std::io::Error::other)?;
        zip.write_all(bytes)?;
    }
    let zip = zip.finish().map_err(std::io::Error::other)?.into_inner();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&zip)?;
    zlib.finish()
}

/// One transaction, 607 bytes: every field at its offset, blanks between.
fn row(mer_id: &str, txn: &Txn, shown: &Shown, at: &str) -> Vec<u8> {
    let incoming = txn.is_payment();
    let (amount, fee) = (shown.amount, shown.fee);
    let mark = if incoming { ('D', 'C') } else { ('C', 'D') };
    let signed = |mark: char, fen: i64| format!("{mark}{fen:012}");
    let columns: [(usize, String); 42] = [
        (3, if incoming { "E74" } else { "E84" }.to_owned()),
        (11, "00010000".to_owned()),
        (11, "00010000".to_owned()),
        (6, txn.trace_no.clone()),
        (10, at.get(4..).unwrap_or_default().to_owned()),
        (19, "621626******0018".to_owned()),
        (12, format!("{:012}", amount)),
        (4, "5812".to_owned()),
        (2, "08".to_owned()),
        (21, txn.query_id.clone()),
        (2, String::new()),
        (32, shown.number.clone()),
        (2, "01".to_owned()),
        (6, String::new()),
        (10, String::new()),
        (13, signed(mark.0, fee)),
        (13, signed(mark.1, amount - fee)),
        (4, "0001".to_owned()),
        (15, String::new()),
        (2, txn.asked.get("txnType").to_owned()),
        (2, txn.asked.get("txnSubType").to_owned()),
        (6, txn.asked.get("bizType").to_owned()),
        (2, "01".to_owned()),
        (4, String::new()),
        (32, String::new()),
        (1, "0".to_owned()),
        (21, txn.original.clone().unwrap_or_default()),
        (15, mer_id.to_owned()),
        (1, "0".to_owned()),
        (15, String::new()),
        (32, "校园餐饮".to_owned()),
        (13, signed('+', 0)),
        (13, signed(if incoming { '+' } else { '-' }, amount - fee)),
        (8, String::new()),
        (32, txn.asked.get("reqReserved").to_owned()),
        (13, signed('+', 0)),
        (13, signed('+', amount)),
        (12, format!("+{:011}", 0)),
        (2, String::new()),
        (1, "0".to_owned()),
        (32, String::new()),
        (98, String::new()),
    ];
    let cells = columns.map(|(width, text)| {
        let mut bytes = GBK.encode(&text).0.into_owned();
        bytes.resize(width, b' ');
        bytes
    });
    cells.join(&b' ')
}
