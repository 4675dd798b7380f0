//! Reading the daily statement (protocol section B8): RFC 4180, a trailer whose sums must agree.

use domain::Timestamp;

use crate::bill::{BillFile, BillKind, BillLine, BillRefused, Columns, EachLine, Lines, money, utf8};

const WANTED: [&str; 7] = ["row_type", "order_no", "refund_no", "vendor_no", "amount", "fee", "finished_at"];
const KNOWN: [&str; 4] = ["account_type", "account_no", "terminal_id", "subject"];

/// Cells of a line; quotes around a cell, doubled quotes inside. Statements have no line breaks inside cells.
fn cells(line: usize, row: &str) -> Result<Vec<String>, BillRefused> {
    let (mut all, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => all.push(std::mem::take(&mut cell)),
            (c, _) => cell.push(c),
        }
    }
    if quoted {
        return Err(BillRefused::new(line, "a quote that is not closed"));
    }
    all.push(cell);
    Ok(all)
}

/// Reads the file. `merchant` is whose it must be, `day` (`2026-01-01`) which day's.
pub(crate) fn read(
    file: BillFile<'_>,
    merchant: &str,
    day: &str,
    each: EachLine<'_>,
) -> Result<(), BillRefused> {
    let mut lines = Lines::new(file);
    let (line, first) = lines.next()?.ok_or_else(|| BillRefused::new(1, "the file is empty"))?;
    let first = utf8(line, first)?;
    if first != format!("#CARD-STATEMENT,1,{merchant},{day},CNY") {
        return Err(BillRefused::new(
            1,
            format!("expected the statement of {merchant} for {day}, found {first:?}"),
        ));
    }
    let (at, header) = lines.next()?.ok_or_else(|| BillRefused::new(1, "the file is cut off: no header"))?;
    let columns = Columns::find(at, &utf8(at, header)?.split(',').collect::<Vec<_>>(), &WANTED, &KNOWN)?;
    // Count and sum of PAY, REVERSE, REFUND; then the fees.
    let (mut sums, mut fees) = ([(0_i64, 0_i64); 3], 0_i64);
    while let Some((line, bytes)) = lines.next()? {
        let row = utf8(line, bytes)?;
        let refused = |problem: String| BillRefused::new(line, problem);
        if let Some(trailer) = row.strip_prefix("#TRAILER,") {
            let said: Result<Vec<i64>, _> = trailer.split(',').map(str::parse).collect();
            let [pay, reverse, refund] = sums;
            let rows = pay.0 + reverse.0 + refund.0;
            let net = pay.1 - reverse.1 - refund.1 - fees;
            let counted = [rows, pay.0, pay.1, reverse.0, reverse.1, refund.0, refund.1, fees, net];
            if said.as_deref() != Ok(&counted) {
                return Err(refused(format!("the trailer says {trailer}, the rows add up to {counted:?}")));
            }
            while let Some((line, row)) = lines.next()? {
                if !row.is_empty() {
                    return Err(BillRefused::new(line, "a row behind the trailer"));
                }
            }
            return Ok(());
        }
        let cells = cells(line, row)?;
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let [kind, number, refund_no, vendor_no, amount, fee, finished_at] =
            columns.pick::<7>(line, &cells)?;
        let (kind, place) = match kind {
            "PAY" => (BillKind::Payment, 0),
            "REVERSE" => (BillKind::Reversal, 1),
            "REFUND" => (BillKind::Refund, 2),
            other => return Err(refused(format!("row_type {other:?} is not known"))),
        };
        let at = finished_at
            .parse::<jiff::Timestamp>()
            .map_err(|_| refused(format!("{finished_at:?} is not a time")))?;
        let amount = money(line, "amount", amount.parse().ok())?;
        let fee_fen: i64 = fee.parse().map_err(|_| refused(format!("fee {fee:?} is not an amount")))?;
        if let Some((count, sum)) = sums.get_mut(place) {
            *count += 1;
            *sum += amount.fen();
        }
        fees += fee_fen;
        each(BillLine {
            line,
            kind,
            channel_order_no: number.to_owned(),
            refund_no: (kind == BillKind::Refund).then(|| refund_no.to_owned()),
            trade_no: vendor_no.to_owned(),
            amount,
            fee_fen,
            at: Timestamp::from_secs(at.as_second()),
        });
    }
    Err(BillRefused::new(lines.read, "the file is cut off: no trailer"))
}
