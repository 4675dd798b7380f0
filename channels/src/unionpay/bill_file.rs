//! Reading the reconciliation file (protocol section 9): fixed width in bytes, GBK, inside a ZIP file.

use domain::Timestamp;

use super::message::moment;
use crate::bill::{BillFile, BillKind, BillLine, BillRefused, EachLine, Lines, gbk, money, unzipped};

/// Lines shorter than this lack a field that is needed.
const SHORTEST: usize = 509;

/// Offset and length, in bytes.
type Field = (usize, usize);
const TIME: Field = (35, 10);
const AMOUNT: Field = (66, 12);
const QUERY_ID: Field = (87, 21);
const ORDER: Field = (112, 32);
const FEE: Field = (166, 13);
const TYPE: Field = (215, 2);
const ORIGINAL: Field = (271, 21);
const MERCHANT: Field = (293, 15);

fn field(line: usize, row: &[u8], (at, len): Field) -> Result<&str, BillRefused> {
    let bytes = row.get(at..at + len).unwrap_or_default();
    let text = std::str::from_utf8(bytes)
        .map_err(|_| BillRefused::new(line, format!("bytes {at} to {}: not text", at + len)))?;
    Ok(text.trim_end())
}

/// Reads the ZIP file of a settlement day. Times have no year: it is that of the days before `now`. `mer_id` is whose
/// file it must be.
pub(crate) fn read(
    file: BillFile<'_>,
    mer_id: &str,
    now: Timestamp,
    each: EachLine<'_>,
) -> Result<(), BillRefused> {
    let wanted = |name: &[u8]| name.windows(3).any(|part| part == b"ZM_");
    unzipped(file, wanted, |lines| table(lines, mer_id, now, each))
}

fn table<R: std::io::Read>(
    mut lines: Lines<R>,
    mer_id: &str,
    now: Timestamp,
    each: EachLine<'_>,
) -> Result<(), BillRefused> {
    while let Some((line, row)) = lines.next()? {
        if row.is_empty() {
            continue;
        }
        gbk(line, row)?;
        let refused = |problem: String| BillRefused::new(line, problem);
        if row.len() < SHORTEST {
            return Err(refused(format!(
                "{} bytes, expected at least {SHORTEST}: the line is cut off",
                row.len()
            )));
        }
        // A wrong width shows as a field that does not end where the next one begins.
        for (at, len) in [TIME, AMOUNT, QUERY_ID, ORDER, FEE, TYPE, ORIGINAL, MERCHANT] {
            if row.get(at + len) != Some(&b' ') {
                return Err(refused(format!("byte {}: expected the blank behind a field", at + len)));
            }
        }
        let merchant = field(line, row, MERCHANT)?;
        if merchant != mer_id {
            return Err(refused(format!("it is merchant {merchant:?}'s")));
        }
        let kind = match field(line, row, TYPE)? {
            "01" => BillKind::Payment,
            "04" => BillKind::Refund,
            "31" | "99" => BillKind::Reversal,
            other => return Err(refused(format!("txnType {other:?} is not known"))),
        };
        let time = field(line, row, TIME)?;
        let at = moment(time, now).ok_or_else(|| refused(format!("{time:?} is not a time")))?;
        let number = field(line, row, ORDER)?.to_owned();
        let fee = field(line, row, FEE)?;
        let digits = fee.get(1..).and_then(|d| d.parse::<i64>().ok());
        let fee_fen = match (fee.as_bytes().first(), digits) {
            (Some(b'D'), Some(fen)) => fen,
            (Some(b'C'), Some(fen)) => -fen,
            _ => return Err(refused(format!("fee {fee:?}: expected C or D and twelve digits"))),
        };
        let refund = kind != BillKind::Payment;
        each(BillLine {
            line,
            kind,
            // A refund names its payment by the channel's number only.
            channel_order_no: if refund { String::new() } else { number.clone() },
            refund_no: refund.then_some(number),
            trade_no: field(line, row, QUERY_ID)?.to_owned(),
            amount: money(line, "txnAmt", field(line, row, AMOUNT)?.parse().ok())?,
            fee_fen,
            at,
        });
    }
    Ok(())
}
