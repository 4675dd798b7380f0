//! Bills as all channels' readers give them: lines, and what makes a file worthless.
//!
//! A reader hands out lines while it reads, so that a day of a million payments needs no memory; whoever takes them
//! in must undo all of them if the file turns out to be refused at its end. Money is never a float.

use domain::{Money, Timestamp};

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillKind {
    /// Money came in.
    Payment,
    /// Money went back.
    Refund,
    /// A payment was taken back as if it had not been.
    Reversal,
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What it says.
    pub kind: BillKind,
    /// Our number of the trade; empty where the channel's refund lines do not repeat it.
    pub channel_order_no: String,
    /// Our number of the refund.
    pub refund_no: Option<String>,
    /// The channel's own number of the trade, or of the refund.
    pub trade_no: String,
    /// How much, never negative.
    pub amount: Money,
    /// What the channel keeps of it, fen; negative if it gives some back.
    pub fee_fen: i64,
    /// When, by the channel's clock.
    pub at: Timestamp,
}

/// Why a file is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BillRefused {
    /// Where, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl BillRefused {
    pub(crate) fn new(line: usize, problem: impl Into<String>) -> BillRefused {
        BillRefused { line, problem: problem.into() }
    }
}

/// Takes lines as they are read.
pub type EachLine<'a> = &'a mut (dyn FnMut(BillLine) + Send);

/// Which column is where. An unknown column is a refusal: a file whose meaning changed must not be guessed at.
pub(crate) struct Columns {
    at: Vec<usize>,
    count: usize,
}

impl Columns {
    /// Finds `wanted` in a header; every other name must be among `known`.
    pub(crate) fn find(
        line: usize,
        header: &[&str],
        wanted: &[&str],
        known: &[&str],
    ) -> Result<Columns, BillRefused> {
        if let Some(unknown) = header.iter().find(|name| !known.contains(name) && !wanted.contains(name)) {
            return Err(BillRefused::new(line, format!("unknown column {unknown:?}")));
        }
        let place = |name: &&str| {
            let at = header.iter().position(|column| column == name);
            at.ok_or_else(|| BillRefused::new(line, format!("column {name:?} is missing")))
        };
        Ok(Columns { at: wanted.iter().map(place).collect::<Result<_, _>>()?, count: header.len() })
    }

    /// The wanted values of a row, in the order in which they were wanted.
    pub(crate) fn pick<'a, const N: usize>(
        &self,
        line: usize,
        row: &[&'a str],
    ) -> Result<[&'a str; N], BillRefused> {
        if row.len() != self.count {
            let problem = format!("{} columns, the header has {}", row.len(), self.count);
            return Err(BillRefused::new(line, problem));
        }
        let mut picked = [""; N];
        for (slot, at) in picked.iter_mut().zip(&self.at) {
            *slot = row.get(*at).copied().unwrap_or_default();
        }
        Ok(picked)
    }
}

/// Yuan with up to five decimals as fen, rounded to fen as the channels' own sums are; with a sign. Never a float.
pub(crate) fn fen(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |t: &str| t.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 5 || !all_digits(whole) || !all_digits(part) {
        return None;
    }
    // In hundred-thousandths of a yuan, then to fen, half away from zero.
    let fine: i64 = format!("{whole}{part:0<5}").parse().ok()?;
    let fen = (fine + 500) / 1_000;
    Some(if negative { -fen } else { fen })
}

/// An amount that must not be negative.
pub(crate) fn money(line: usize, name: &str, fen: Option<i64>) -> Result<Money, BillRefused> {
    let fen = fen.ok_or_else(|| BillRefused::new(line, format!("{name} is not an amount")))?;
    Money::from_fen(fen).map_err(|e| BillRefused::new(line, format!("{name}: {e}")))
}

/// Text in GBK, or a refusal that names the first line that is not.
pub(crate) fn gbk(bytes: &[u8]) -> Result<String, BillRefused> {
    let decoded = encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes);
    decoded.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        let whole = |line: &[u8]| {
            encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(line).is_some()
        };
        let line = bytes.split(|c| *c == b'\n').position(|line| !whole(line)).map_or(0, |at| at + 1);
        BillRefused::new(line, "not GBK")
    })
}

/// Text in UTF-8 without its mark, or a refusal that names the first line that is not.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, BillRefused> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        BillRefused::new(before.iter().filter(|c| **c == b'\n').count() + 1, "not UTF-8")
    })
}

/// The entry of a ZIP file whose name is wanted, not larger than `max` bytes.
pub(crate) fn unzip(file: &[u8], wanted: impl Fn(&[u8]) -> bool, max: u64) -> Result<Vec<u8>, BillRefused> {
    use std::io::Read as _;
    let whole = |problem: String| BillRefused::new(0, problem);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file))
        .map_err(|e| whole(format!("not a whole ZIP file: {e}")))?;
    for n in 0..zip.len() {
        let mut entry = zip.by_index(n).map_err(|e| whole(format!("entry {n}: {e}")))?;
        if !wanted(entry.name_raw()) {
            continue;
        }
        let mut bytes = Vec::new();
        let read = (&mut entry).take(max + 1).read_to_end(&mut bytes);
        read.map_err(|e| whole(format!("entry {n} is damaged: {e}")))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
            return Err(whole(format!("entry {n} is larger than {max} bytes")));
        }
        return Ok(bytes);
    }
    Err(whole("the ZIP file has no entry with transactions".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_fen_without_floats() {
        for (text, expected) in [
            ("18.50", Some(1850)),
            ("-0.12000", Some(-12)),
            ("0.00499", Some(0)),
            ("0.005", Some(1)),
            ("+3", Some(300)),
            ("", None),
            ("-", None),
            ("1.000000", None),
            ("1e3", None),
            ("1,000.00", None),
            ("一", None),
        ] {
            assert_eq!(fen(text), expected, "{text}");
        }
    }
}
