//! Bills as all channels' readers give them: lines, and what makes a file worthless.
//!
//! A reader hands out lines while it reads, so that a day of a million payments needs no memory; whoever takes them
//! in must undo all of them if the file turns out to be refused at its end. Money is never a float.

use std::io::{BufRead as _, BufReader, Read, Seek};

use domain::Money;
pub use domain::reconciliation::{BillKind, BillLine};

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

/// Where a bill is read from: a file on disk, or bytes behind a cursor.
pub trait BillSource: Read + Seek + Send {}
impl<T: Read + Seek + Send> BillSource for T {}

/// A bill that is being read.
pub type BillFile<'a> = &'a mut dyn BillSource;

/// No line of any channel is nearly as long; more is not a bill.
const LINE_MAX: u64 = 64 << 10;
/// What a packed bill may hold: a million lines of the widest format are two thirds of a gigabyte.
const UNPACKED_MAX: u64 = 4 << 30;

/// Lines of a file, one at a time, so that memory does not grow with the day.
pub(crate) struct Lines<R> {
    from: BufReader<R>,
    buffer: Vec<u8>,
    /// How many lines were read.
    pub(crate) read: usize,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(from: R) -> Lines<R> {
        Lines { from: BufReader::with_capacity(64 << 10, from), buffer: Vec::new(), read: 0 }
    }

    /// The next line without its end, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &[u8])>, BillRefused> {
        self.buffer.clear();
        let line = self.read + 1;
        let n = (&mut self.from)
            .take(LINE_MAX)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|e| BillRefused::new(line, format!("the file is damaged: {e}")))?;
        if n == 0 {
            return Ok(None);
        }
        self.read = line;
        if self.buffer.pop_if(|last| *last == b'\n').is_none()
            && u64::try_from(n).unwrap_or(LINE_MAX) == LINE_MAX
        {
            return Err(BillRefused::new(line, format!("longer than {LINE_MAX} bytes")));
        }
        let _dos_end = self.buffer.pop_if(|last| *last == b'\r');
        Ok(Some((line, &self.buffer)))
    }
}

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

/// A line in GBK.
pub(crate) fn gbk(line: usize, bytes: &[u8]) -> Result<std::borrow::Cow<'_, str>, BillRefused> {
    let decoded = encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes);
    decoded.ok_or_else(|| BillRefused::new(line, "not GBK"))
}

/// A line in UTF-8; the first one may begin with the mark.
pub(crate) fn utf8(line: usize, bytes: &[u8]) -> Result<&str, BillRefused> {
    let bytes = if line == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
    std::str::from_utf8(bytes).map_err(|_| BillRefused::new(line, "not UTF-8"))
}

/// Reads the entry of a ZIP file whose name is wanted.
pub(crate) fn unzipped<T>(
    file: BillFile<'_>,
    wanted: impl Fn(&[u8]) -> bool,
    read: impl FnOnce(Lines<&mut dyn Read>) -> Result<T, BillRefused>,
) -> Result<T, BillRefused> {
    let whole = |problem: String| BillRefused::new(0, problem);
    let mut zip = zip::ZipArchive::new(file).map_err(|e| whole(format!("not a whole ZIP file: {e}")))?;
    for n in 0..zip.len() {
        let entry = zip.by_index(n).map_err(|e| whole(format!("entry {n}: {e}")))?;
        if wanted(entry.name_raw()) {
            return read(Lines::new(&mut entry.take(UNPACKED_MAX)));
        }
    }
    Err(whole("the ZIP file has no entry with transactions".to_owned()))
}

/// Reads a file that may be packed with gzip.
pub(crate) fn ungzipped<T>(
    file: BillFile<'_>,
    read: impl FnOnce(Lines<&mut dyn Read>) -> Result<T, BillRefused>,
) -> Result<T, BillRefused> {
    let broken = |e: std::io::Error| BillRefused::new(0, format!("the file cannot be read: {e}"));
    let mut magic = [0; 2];
    let packed = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind().map_err(broken)?;
    if packed {
        read(Lines::new(&mut flate2::read::MultiGzDecoder::new(file).take(UNPACKED_MAX)))
    } else {
        read(Lines::new(&mut &mut *file))
    }
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
